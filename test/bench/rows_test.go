package main

import (
	"bufio"
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

func TestPickRows(t *testing.T) {
	t.Parallel()
	all := allRows()
	names := map[string]bool{}
	for _, r := range all {
		if names[r.name()] || r.about() == "" || r.repeats(3) < 1 {
			t.Errorf("row %q: its name is taken, or it says nothing", r.name())
		}
		names[r.name()] = true
	}
	got, err := pickRows(all, "pair, ingest")
	if err != nil || len(got) != 2 || got[0].name() != "pair" || got[1].name() != "ingest" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := pickRows(all, ""); err != nil || len(got) != len(all) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := pickRows(all, "nothing"); err == nil {
		t.Error("an unknown row is no error")
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := 100; i > 0; i-- {
		took = append(took, time.Duration(i)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 50, 0.99: 99, 1: 100, 0: 1} {
		if got := percentile(took, q); got != want {
			t.Errorf("percentile %v is %v, want %v", q, got, want)
		}
	}
	if got := percentile(nil, 0.5); !math.IsInf(got, 1) {
		t.Errorf("of nothing it is %v", got)
	}
}

// In order or mixed, every event of the apply row is a new fact of its pair.
func TestApplyEventsAreDistinct(t *testing.T) {
	t.Parallel()
	for _, mixed := range []bool{false, true} {
		events, err := applyEvents(workInput{Events: 5000, Holders: 100, Mixed: mixed})
		if err != nil {
			t.Fatal(err)
		}
		pairs := map[string]*hold.Pair{}
		for i := range events {
			p := pairs[events[i].Holder]
			if p == nil {
				p = hold.NewPair(hold.Merge)
				pairs[events[i].Holder] = p
			}
			if !p.Add(events[i].Fact()) {
				t.Fatalf("mixed %v: %+v is a duplicate", mixed, events[i])
			}
		}
		for holder, p := range pairs {
			if p.Waiting() > 0 {
				t.Errorf("mixed %v: %d facts of %s wait", mixed, p.Waiting(), holder)
			}
		}
	}
}

// The exact score of the score row's slice is what the bare sum comes to.
func TestScoreSlice(t *testing.T) {
	t.Parallel()
	events, err := endedEvents(1000)
	if err != nil {
		t.Fatal(err)
	}
	if exact, bare := scoreSlice(events).Score.Float64(), sumSlice(events); exact < bare*0.999999 || exact > bare*1.000001 {
		t.Errorf("the score is %g, the sum %g", exact, bare)
	}
}

// The files of the row of files are what the row says: distinct holds in the order of
// their starts, and senders that have what they send.
func TestFilesOfRows(t *testing.T) {
	t.Parallel()
	const n = 3000
	var events, transfers bytes.Buffer
	for _, f := range []struct {
		to    *bytes.Buffer
		write func(*bufio.Writer, int) error
	}{{&events, writeEvents}, {&transfers, writeTransfers}} {
		w := bufio.NewWriter(f.to)
		if err := errors.Join(f.write(w, n), w.Flush()); err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(f.to.Bytes(), []byte("\n")); lines != n+1 {
			t.Errorf("%d lines", lines)
		}
	}
	last := ""
	for _, row := range strings.Split(strings.TrimSpace(events.String()), "\n")[1:] {
		start := strings.Split(row, ",")[2]
		if start <= last {
			t.Fatalf("%s starts at or before %s", row, last)
		}
		last = start
	}
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "a.csv"), filepath.Join(dir, "b.csv")
	for name, text := range map[string]string{ours: "holder_id,score\na,1.5\nb,20\nc,0\n", theirs: "h,score\na,1.5000\nb,20\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := sameFileScores(ours, theirs); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(theirs, []byte("h,score\na,1.5\nb,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if sameFileScores(ours, theirs) == nil {
		t.Error("20 and 2 are the same score")
	}
}
