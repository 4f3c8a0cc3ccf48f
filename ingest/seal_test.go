package ingest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
)

// A horizon is in the settings before it is in any partition; it goes up alone; and
// another process that has the log open learns it when it is asked.
func TestSeal(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	js := connect(t, server)
	l, err := OpenLog(t.Context(), js, LogConfig{Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	other, err := OpenLog(t.Context(), connect(t, server), LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if l.Horizon() != 0 {
		t.Fatal("a new log has a horizon")
	}
	for _, bad := range []int64{0, -1, now, now - int64(time.Second), hold.MaxTime} {
		if err := l.Seal(t.Context(), bad, now); !errors.Is(err, ErrHorizon) {
			t.Errorf("%d: %v", bad, err)
		}
	}
	const first, second = int64(1000e9), int64(2000e9 + 1)
	for _, horizon := range []int64{first, first, second, first} {
		l.sealAfter = 0 // no other process produces
		if err := l.Seal(t.Context(), horizon, now); err != nil {
			t.Fatal(err)
		}
	}
	if l.Horizon() != second || other.Horizon() != 0 {
		t.Errorf("horizons %d and %d", l.Horizon(), other.Horizon())
	}
	for horizon, want := range map[int64]bool{first: true, second: true, first + 1: false, 0: false} {
		if known, err := other.KnowsHorizon(t.Context(), horizon); known != want || err != nil {
			t.Errorf("knows %d: %v, %v", horizon, known, err)
		}
	}
	if other.Horizon() != second {
		t.Errorf("the other has horizon %d", other.Horizon())
	}
	var got []string
	for _, m := range messages(t, l) {
		horizon, err := ReadSeal(m.data)
		if err != nil || !IsSeal(m.data) || IsFrame(m.data) {
			t.Fatalf("%x: %v", m.data, err)
		}
		got = append(got, fmt.Sprint(m.subject, " ", horizon))
	}
	var want []string
	for _, horizon := range []int64{first, first, second, second} {
		for p := range 3 {
			want = append(want, fmt.Sprint(LogSubject(p), " ", horizon))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log has %v, want %v", got, want)
	}
	again, err := OpenLog(t.Context(), js, LogConfig{})
	if err != nil || again.Horizon() != second {
		t.Errorf("opened again: %v, %v", again, err)
	}
	if err := again.SetLimits(t.Context(), hold.Limits{MaxClockSkew: 1}); err != nil {
		t.Fatal(err)
	}
	if known, err := other.KnowsHorizon(t.Context(), first); !known || err != nil {
		t.Errorf("after the limits were set: %v, %v", known, err)
	}

	// A producer refuses what no pair would admit.
	p := NewProducer(again, ProducerOptions{Now: testClock})
	defer mustClose(t, p)
	d := open("t", "h", 1500)
	if _, err := p.Record(t.Context(), &d); !errors.Is(err, hold.ErrSealed) {
		t.Errorf("an open hold from before: %v", err)
	}
	d.Start = hold.StampOf(second)
	if _, err := p.Record(t.Context(), &d); err != nil {
		t.Errorf("an open hold from the horizon: %v", err)
	}
	results := make(chan BatchResult, 1)
	early := open("t", "h", 1500)
	p.SendBatch(t.Context(), []hold.Draft{d, early}, func(r BatchResult) { results <- r })
	if r := <-results; len(r.Refused) != 1 || !errors.Is(r.Refused[0].Err, hold.ErrSealed) {
		t.Errorf("a batch: %+v", r)
	}
}

func TestReadSeal(t *testing.T) {
	t.Parallel()
	for _, horizon := range []int64{1, 127, 128, 1 << 40, hold.MaxTime} {
		if got, err := ReadSeal(AppendSeal(nil, horizon)); got != horizon || err != nil {
			t.Errorf("%d: %d, %v", horizon, got, err)
		}
	}
	good := AppendSeal(nil, 1<<40)
	for _, bad := range [][]byte{nil, {0}, good[:2], good[:3], good[:len(good)-1], append(slices.Clone(good), 0), {0, 'S', 2, 1}, {0, 'S', 1, 0}, AppendSeal(nil, hold.MaxTime+1), {0, 'H', 1, 1}} {
		if _, err := ReadSeal(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
	m := Message{Data: good}
	for e := range m.Entries() {
		t.Errorf("a seal has the entry %+v", e)
	}
}

func TestDamagedHorizons(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`x`, `["soon"]`, `["2020-01-02T00:00:00Z","2020-01-01T00:00:00Z"]`, `["2300-01-01T00:00:00Z"]`, `[1]`} {
		js := connect(t, natstest.Start(t))
		cfg := eventsConfig(LogConfig{Partitions: 1}, "id")
		cfg.Metadata[metaHorizons] = text
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenLog(t.Context(), js, LogConfig{}); !errors.Is(err, ErrLogSettings) || !strings.Contains(err.Error(), metaHorizons) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
