package mongo

import (
	"errors"
	"testing"

	"holdmetrics/projection"
)

// Two generations in one database know nothing of each other, and dropping one
// leaves the other.
func TestGenerations(t *testing.T) {
	t.Parallel()
	if server == nil {
		t.Skip(noServer)
	}
	name := database(t)
	open := func(generation string) *Store {
		s, err := Open(t.Context(), Config{URL: server.URL, Database: name, Generation: generation})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	stores := map[string]*Store{"": open(""), "2": open("2")}
	for generation, s := range stores {
		if err := s.SetMeta(t.Context(), map[string]string{projection.MetaPolicy: "policy of " + generation}); err != nil {
			t.Fatal(err)
		}
		b := projection.Batch{
			Partition: 1, Checkpoint: projection.Checkpoint{LogID: "log", Position: 1, Epoch: 1},
			Holders: []projection.HolderRecord{{Holder: "h" + generation, Position: 1}},
		}
		if err := s.Flush(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := stores["2"].Drop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stores[""].Holder(t.Context(), 1, "h"); err != nil {
		t.Error(err)
	}
	again := open("2")
	if _, err := again.Holder(t.Context(), 1, "h2"); !errors.Is(err, projection.ErrNotFound) {
		t.Errorf("after the drop: %v", err)
	}
	if m, err := again.Meta(t.Context()); err != nil || len(m) != 0 {
		t.Errorf("%v, %v", m, err)
	}
	if m, err := stores[""].Meta(t.Context()); err != nil || m[projection.MetaPolicy] != "policy of " {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := Open(t.Context(), Config{URL: server.URL, Generation: "a$b"}); err == nil {
		t.Error("a generation of any name")
	}
}
