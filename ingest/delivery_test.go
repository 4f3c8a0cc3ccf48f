package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/natstest"
)

// connectBehind opens a connection through a broker with faults of its own.
func connectBehind(t *testing.T, s faultynats.Server, f faultynats.Faults) (*faultynats.Broker, jetstream.JetStream) {
	t.Helper()
	liar, err := faultynats.Start(s, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := liar.Close(); err != nil {
			t.Errorf("close the broker that lies: %v", err)
		}
	})
	return liar, natstest.JetStream(t, liar)
}

// soon bounds what a test waits for.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// readRange returns the positions of a range, and the error that ended it.
func readRange(ctx context.Context, l *Log, r Range) (got []uint64, last error) {
	for m, err := range l.Read(ctx, r) {
		if err != nil {
			return got, err
		}
		got = append(got, m.Position)
	}
	return got, nil
}

// A read of a range, and of the dead letters, is whole whatever the broker says is
// pending, whether a message comes twice, late or not at all, and though the consumer
// falls silent with or without heartbeats.
func TestReadsAreWholeBehindALiar(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]faultynats.Faults{
		"high": {PendingHigh: 1}, "low": {PendingLow: 1}, "twice": {Twice: 0.5}, "lost": {Lost: 0.2, Most: 3},
		"silent": {Silent: 1, Most: 1}, "mute": {Mute: 1, Most: 1}, "late": {Late: 1, MaxDelay: 400 * time.Millisecond, Most: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t)
			if _, err := OpenLog(t.Context(), natstest.JetStream(t, s), LogConfig{}); err != nil {
				t.Fatal(err)
			}
			f.Seed = faultynats.SeedOf(t.Name())
			_, js := connectBehind(t, s, f)
			l, err := FindLog(soon(t), js)
			if err != nil {
				t.Fatal(err)
			}
			l.patience = 150 * time.Millisecond
			var all, third []uint64
			for i := range 30 {
				ack, err := js.Publish(soon(t), LogSubject(i%3), []byte("x"))
				if err != nil {
					t.Fatal(err)
				}
				if all = append(all, ack.Sequence); i%3 == 2 {
					third = append(third, ack.Sequence)
				}
				if err := l.DeadLetters().Publish(soon(t), DeadLetter{Sequence: ack.Sequence, Partition: i % 3, Reason: "r", Data: []byte("x")}); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := readRange(soon(t), l, Range{}); err != nil || !slices.Equal(got, all) {
				t.Errorf("read %v, %v", got, err)
			}
			if got, err := readRange(soon(t), l, Range{Partitions: []int{2}, To: 99}); err != nil || !slices.Equal(got, third) {
				t.Errorf("read %v of partition 2, want %v: %v", got, third, err)
			}
			following, cancel := context.WithCancel(soon(t))
			defer cancel()
			var got []uint64
			for m, err := range l.Read(following, Range{Follow: true}) {
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					break
				}
				if got = append(got, m.Position); len(got) == len(all) {
					cancel()
				}
			}
			if !slices.Equal(got, all) {
				t.Errorf("followed %v", got)
			}
			deadLetters := 0
			for _, err := range l.DeadLetters().All(soon(t)) {
				if err != nil {
					t.Fatal(err)
				}
				deadLetters++
			}
			if deadLetters != len(all) {
				t.Errorf("%d dead letters of %d", deadLetters, len(all))
			}
		})
	}
}

// A stream that delivers nothing of what it has ends a read with an error that names
// the position.
func TestReadGivesUpOnASilentStream(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	l, err := OpenLog(t.Context(), natstest.JetStream(t, s), LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := l.js.Publish(t.Context(), LogSubject(1), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	_, js := connectBehind(t, s, faultynats.Faults{Mute: 1})
	behind, err := FindLog(soon(t), js)
	if err != nil {
		t.Fatal(err)
	}
	behind.patience = 50 * time.Millisecond
	got, err := readRange(soon(t), behind, Range{})
	if len(got) != 0 || !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "behind position 0 of 3") {
		t.Errorf("read %v, %v", got, err)
	}
}

// The acknowledgement of an imported message is lost: the import ends with an error
// that names the position, and another one carries on.
func TestImportDoesNotWaitForALostAcknowledgement(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	liar, js := connectBehind(t, s, faultynats.Faults{})
	o, all := originOf(20)
	i := begin(t, js, o)
	i.patience = 200 * time.Millisecond
	liar.Set(faultynats.Faults{LostAcks: 1, Most: 1})
	ctx := soon(t)
	err := i.Add(ctx, all[0])
	if err == nil {
		err = i.Wait(ctx)
	}
	if !errors.Is(err, ErrNotAcknowledged) || !strings.Contains(fmt.Sprint(err), "position 1") || ctx.Err() != nil {
		t.Fatalf("the import waited for its first message: %v", err)
	}
	i.Close()
	liar.Set(faultynats.Faults{})
	again := begin(t, js, o)
	if again.There() != 1 {
		t.Errorf("%d messages are there", again.There())
	}
	addAll(t, again, all)
	sameMessages(t, finish(t, again), all)
}
