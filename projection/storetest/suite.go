package storetest

import (
	"testing"

	"holdmetrics/projection"
)

// Harness opens stores over one place where data is kept.
type Harness struct {
	// Open opens the store over the data that is there, also a second time,
	// after the first one was closed, and then finds what was written before.
	// Where it cannot, it ends the test.
	Open func(t *testing.T) projection.Store
	// ModelRuns is how often the store is compared with a model of it that does anything
	// in any order; 0: as often as rapid checks a property.
	ModelRuns int
}

// Run holds a store to what package projection promises. Open is called once a
// test, with a place of its own for the data; the suite closes what it opens.
//
// A store may keep pages or facts. The suite opens pairs and compares their
// effective holds and figures, and never looks at what is stored.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, h Harness)
	}{
		{"Empty", testEmpty},
		{"Capabilities", testCapabilities},
		{"Claim", testClaim},
		{"LoadInOrder", testLoadInOrder},
		{"Reopen", testReopen},
		{"PagesComeAndGo", testPagesComeAndGo},
		{"LargePair", testLargePair},
		{"FiguresAlone", testFiguresAlone},
		{"FlushTwice", testFlushTwice},
		{"EpochGuard", testEpochGuard},
		{"ChangedSince", testChangedSince},
		{"Holders", testHolders},
		{"PairsAfter", testPairsAfter},
		{"HolderPairs", testHolderPairs},
		{"OddIDs", testOddIDs},
		{"Partitions", testPartitions},
		{"BigBatch", testBigBatch},
		{"CallbackErrors", testCallbackErrors},
		{"ContextEnds", testContextEnds},
		{"Meta", testMeta},
		{"Closed", testClosed},
		{"ViewStands", testViewStands},
		{"ReadersDuringFlushes", testReadersDuringFlushes},
		{"Model", func(t *testing.T, h Harness) { testModel(t, h, open) }},
		{"KeysAfter", testKeysAfter},
		{"Sealed", testSealed},
		{"SealedWithoutEvent", testSealedWithoutEvent},
		{"ViewOfSealed", testViewOfSealed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, open(t))
		})
	}
}

// opened opens the store and sees to it that it is closed.
func (h Harness) opened(t *testing.T) projection.Store {
	t.Helper()
	s := h.Open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// compareAll compares now and after the store was opened again: what came back
// from the disk is often read by another path than what was just written.
func (h Harness) compareAll(t *testing.T, s projection.Store, writers ...*writer) {
	t.Helper()
	for _, w := range writers {
		compare(t, s, w)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	s = h.opened(t)
	for _, w := range writers {
		compare(t, s, w)
	}
}
