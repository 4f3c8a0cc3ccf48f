package storetest

import (
	"context"
	"errors"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// A method that needs a capability says so where the store has it not, and does
// something else than that where it has.
func testCapabilities(t *testing.T, h Harness) {
	s := h.opened(t)
	ctx := context.Background()
	can := s.Capabilities()
	w := newWriter(1)
	w.add("a", "t", ended(1, 2))
	mustFlush(t, s, w)
	_, pageErr := s.Page(ctx, 1, projection.PairKey{Holder: "a", Token: "t"}, []byte("p"))
	pagesErr := s.Pages(ctx, 1, projection.PairKey{Holder: "a", Token: "t"}, []byte("p"), func(hold.Page) bool { return true })
	_, removeErr := s.RemoveSealed(ctx, 1)
	_, _, claimErr := s.Claim(ctx, 9, 1)
	for _, c := range []struct {
		method string
		can    bool
		err    error
	}{
		{"Page", can.ReadsPages, pageErr},
		{"Pages", can.ReadsPages, pagesErr},
		{"RemoveSealed", can.RemovesSealed, removeErr},
		{"Claim", can.Claims, claimErr},
	} {
		switch {
		case c.can && c.err != nil:
			t.Errorf("%s: %v, of a store that can", c.method, c.err)
		case !c.can && !(errors.Is(c.err, projection.ErrUnsupported) && errors.Is(c.err, errors.ErrUnsupported)):
			t.Errorf("%s: %v, of a store that cannot", c.method, c.err)
		}
	}
	if again := s.Capabilities(); again != can {
		t.Errorf("capabilities were %+v, and are %+v", can, again)
	}
	if can.IgnoresFacts && can.RemovesSealed {
		t.Errorf("the store keeps no facts, and removes some: %+v", can)
	}
}

// A claim keeps what was flushed and shuts former owners out.
func testClaim(t *testing.T, h Harness) {
	s := h.opened(t)
	if !s.Capabilities().Claims {
		t.Skip("the store is for one process")
	}
	ctx := context.Background()
	if _, found, err := s.Claim(ctx, 1, 3); found || err != nil {
		t.Errorf("claim of a partition that was never flushed: %v, %v", found, err)
	}
	b := &projection.Batch{Partition: 1, Checkpoint: projection.Checkpoint{LogID: "log", Position: 7, Epoch: 3, LogTime: 5}}
	if err := s.Flush(ctx, b); err != nil {
		t.Fatal(err)
	}
	c, found, err := s.Claim(ctx, 1, 5)
	if want := (projection.Checkpoint{LogID: "log", Position: 7, Epoch: 5, LogTime: 5}); c != want || !found || err != nil {
		t.Errorf("claim: %+v, %v, %v; want %+v", c, found, err, want)
	}
	b.Checkpoint.Position = 8
	var fenced *projection.FencedError
	if err := s.Flush(ctx, b); !errors.As(err, &fenced) || fenced.Stored != 5 || fenced.Mine != 3 {
		t.Errorf("flush of the former owner: %v", err)
	}
	if _, _, err := s.Claim(ctx, 1, 4); !errors.As(err, &fenced) || fenced.Stored != 5 || fenced.Mine != 4 {
		t.Errorf("claim of a smaller epoch: %v", err)
	}
	if c, found, err := s.Checkpoint(ctx, 1); c.Position != 7 || c.Epoch != 5 || !found || err != nil {
		t.Errorf("checkpoint %+v, %v, %v; want position 7 of epoch 5", c, found, err)
	}
}
