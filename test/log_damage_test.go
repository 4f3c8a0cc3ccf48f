package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// logBlocks are the block files of the event log of a data directory, the last one last.
func logBlocks(t *testing.T, dir string) []string {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "$G", "streams", "HOLD_EVENTS", "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatal(blocks, err)
	}
	slices.SortFunc(blocks, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return blocks
}

// cutLog takes half of the last block of the log, and the index, as a disk does that
// loses what it has acknowledged.
func cutLog(t *testing.T, dir string) {
	t.Helper()
	blocks := logBlocks(t, dir)
	last := blocks[len(blocks)-1]
	if err := os.Truncate(last, size(t, last)/2); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(last), "index.db")); err != nil {
		t.Fatal(err)
	}
}

// refusal is nil if an event is refused with a text.
func (s *server) refusal(want string) error {
	if err := s.post("late"); err == nil || !strings.HasPrefix(err.Error(), "503") || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("an event is answered with %v, want 503 and %q", err, want)
	}
	return nil
}

// notReady wants readyz to give a reason.
func (s *server) notReady(want string) {
	s.t.Helper()
	s.eventually("readyz gives the reason", func() error {
		if err := s.try("/readyz", nil); err == nil || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("%v, want %q", err, want)
		}
		return nil
	})
}

// recordOneByOne sends events in messages of their own.
func (s *server) recordOneByOne(from, to int) {
	s.t.Helper()
	for i := from; i < to; i++ {
		s.recordHolders(i, i+1)
	}
}

// The log lost its end while the server was down, and events come at once. None of them
// takes the position of a lost one: events are refused, with what to do, and reads give
// what was acknowledged.
func TestLostTail(t *testing.T) {
	t.Parallel()
	const holders = 60
	dir := t.TempDir()
	s := start(t, dir)
	s.recordOneByOne(0, holders)
	s.stop()
	cutLog(t, dir)

	s = start(t, dir)
	for range 20 {
		if err := s.refusal("holdmetrics log repair"); err != nil {
			t.Fatal(err)
		}
	}
	s.notReady("log is shorter than the checkpoint")
	if wrong, refused := s.figures(holders); wrong != nil {
		t.Error(wrong, refused)
	}
	s.stop()
}

// A message of the log was flipped on the disk. A store that is made from it again does
// not pass over it: the partition stops there, and names the position.
func TestFlippedLog(t *testing.T) {
	t.Parallel()
	const holders = 200
	dir := t.TempDir()
	s := start(t, dir)
	s.recordOneByOne(0, holders)
	s.stop()
	flip(t, logBlocks(t, dir)[0], 5)
	if err := os.RemoveAll(filepath.Join(dir, "store")); err != nil {
		t.Fatal(err)
	}

	s = start(t, dir)
	s.notReady("the log is damaged")
	s.eventually("events are refused", func() error { return s.refusal("holdmetrics log repair") })
	for _, command := range [][]string{{"backup"}, {"log", "export"}} {
		file := filepath.Join(t.TempDir(), "copy.ndjson")
		_, said, err := try(t, append(command, file, "--nats-url", s.nats)...)
		if _, made := os.Stat(file); err == nil || made == nil || !strings.Contains(said, "the log is damaged") {
			t.Errorf("%v of a damaged log: %v: %s", command, err, said)
		}
	}
	if _, said, err := try(t, "log", "verify", "--nats-url", s.nats); err == nil || !strings.Contains(said, "are missing") {
		t.Errorf("log verify of a damaged log: %v: %s", err, said)
	}
	s.stop()
}
