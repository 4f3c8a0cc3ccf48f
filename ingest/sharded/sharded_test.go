package sharded

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// A weight that packs unpacks to itself.
func TestPack(t *testing.T) {
	t.Parallel()
	packed := 0
	rapid.Check(t, func(t *rapid.T) {
		limb := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1 << 63, 1<<56 - 1, 1 << 56, 1e18, 25e16}))
		units := [3]uint64{limb.Draw(t, "low"), limb.Draw(t, "middle"), limb.Draw(t, "high")}
		if rapid.Bool().Draw(t, "one limb") {
			keep := rapid.IntRange(0, 2).Draw(t, "limb")
			for i := range units {
				if i != keep {
					units[i] = 0
				}
			}
		}
		p, fits := pack(&units)
		if !fits {
			return
		}
		packed++
		if got := unpack(p); got != (hold.Weight{units[0], units[1], units[2]}) {
			t.Fatalf("%x is packed as %x, which is %x", units, p, got)
		}
	})
	if packed == 0 {
		t.Error("no weight was packed")
	}
	if p, fits := pack(&[3]uint64{25e16}); !fits || unpack(p) != (hold.Weight{25e16}) {
		t.Error("a quarter does not fit")
	}
}

// All spellings of an address are in one shard, and so are those that differ in case.
func TestSpellingsShareAShard(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		digits := rapid.StringMatching(`[0-9a-f]{40}`).Draw(t, "digits")
		want := hashOf(seed, "0x"+digits)
		for _, spelling := range []string{"0X" + digits, `\x` + digits, "0x" + strings.ToUpper(digits)} {
			if hashOf(seed, spelling) != want {
				t.Fatalf("%s has another hash", spelling)
			}
		}
		id := rapid.StringMatching(`[A-Za-z0-9_-]{0,30}`).Draw(t, "id")
		if hashOf(seed, id) != hashOf(seed, strings.ToLower(id)) {
			t.Fatalf("%s and its lower case have two hashes", id)
		}
	})
}

// Names keeps every spelling apart, short or long, and knows it again.
func TestNames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var n names
		// Few hashes, so that many texts have the same.
		hash := func(text string) uint64 { return uint64(len(text) % 3) }
		known := map[string]uint32{}
		plain := func(spelling string) (Name, error) { return Name{ID: spelling}, nil }
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			text := rapid.StringMatching(`[ab]{0,3}x{0,70}`).Draw(t, "text")
			i, ok := n.find(hash(text), []byte(text))
			if j, was := known[text]; ok != was || ok && i != j {
				t.Fatalf("%q is found at %d, %v, and was put at %d, %v", text, i, ok, j, was)
			}
			if !ok {
				i = n.insert(hash(text), text)
				known[text] = i
			}
			if n.text(i) != text {
				t.Fatalf("%q became %q", text, n.text(i))
			}
			if meant, err := n.meant(0, hash(text), []byte(text), plain); meant != i || err != nil {
				t.Fatalf("%q means %d, %v", text, meant, err)
			}
		}
	})
}

// linesJob has a hold a line: the holder, and the start in seconds as its length.
type linesJob struct {
	blocks []string
	fail   error
	broken error // of Next
}

func (j *linesJob) Next(buf []byte) (rows.Block, []byte, error) {
	if j.broken != nil && len(j.blocks) == 50 {
		return rows.Block{}, buf, j.broken
	}
	if len(j.blocks) == 0 {
		return rows.Block{}, buf, io.EOF
	}
	block := rows.Block{Line: len(j.blocks)}
	j.blocks = j.blocks[1:]
	return block, buf, nil
}

func (j *linesJob) Parse(_, _ int, block rows.Block, into *Batch) error {
	if j.fail != nil && block.Line == 1 {
		return j.fail
	}
	w := hold.One
	into.Hold(0, "holder", int64(1000-block.Line), int64(2000-block.Line), &w, false)
	return nil
}

func (j *linesJob) Join(int) error       { return nil }
func (j *linesJob) Shard(int, int) error { return nil }

func newTestSet(t *testing.T, keep bool) *Set {
	t.Helper()
	s := New(Config{
		Terms:    Terms{Question: hold.Question{At: 5000, SettledAt: hold.MaxTime}, Rules: hold.PlainRules(hold.Sum), Cores: 2},
		Holder:   func(spelling string) (Name, error) { return Name{ID: spelling}, nil },
		KeepRows: keep,
	})
	if _, err := s.Token("T"); err != nil {
		t.Fatal(err)
	}
	return s
}

// Sums and rows answer the same, over many rounds, and blocks are applied in their order.
func TestSumsAndRowsAgree(t *testing.T) {
	t.Parallel()
	var answers [2]hold.Answer
	for i, keep := range []bool{false, true} {
		s := newTestSet(t, keep)
		if err := s.Reader().Read(t.Context(), &linesJob{blocks: make([]string, 100)}); err != nil {
			t.Fatal(err)
		}
		if err := s.Finish(5000); err != nil {
			t.Fatal(err)
		}
		pairs := s.Pairs()
		if len(pairs) != 1 || pairs[0].Holder != "holder" || pairs[0].Token != "T" {
			t.Fatalf("pairs %+v", pairs)
		}
		answers[i] = s.Answer(&pairs[0])
	}
	// 100 holds of 1,000 ns, each a nanosecond after the one before.
	if held := answers[0].Live.Held.String(); answers[0] != answers[1] || held != "0.000001099" {
		t.Errorf("sums have %+v, held for %s, and rows %+v", answers[0], held, answers[1])
	}
}

// An error of a job ends the reading, and so does the context. No goroutine is left.
func TestReadEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	if err := newTestSet(t, false).Reader().Read(t.Context(), &linesJob{blocks: make([]string, 100), fail: broken}); !errors.Is(err, broken) {
		t.Errorf("a job that fails: %v", err)
	}
	if err := newTestSet(t, false).Reader().Read(t.Context(), &linesJob{blocks: make([]string, 100), broken: broken}); !errors.Is(err, ErrPlain) {
		t.Errorf("a file that breaks: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newTestSet(t, false).Reader().Read(ctx, &linesJob{blocks: make([]string, 100)}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// Holds that do not follow one another take a set that keeps rows.
func TestFollows(t *testing.T) {
	t.Parallel()
	s := newTestSet(t, false)
	if err := s.Reader().Read(t.Context(), &linesJob{blocks: make([]string, 1)}); err != nil {
		t.Fatal(err)
	}
	err := s.Reader().Read(t.Context(), &linesJob{blocks: make([]string, 1)}) // the same again
	if err == nil || Follows(err) {
		t.Errorf("a hold that was there: %v", err)
	}
	if !Follows(nil) || !Follows(ErrPlain) {
		t.Error("Follows of other errors")
	}
}
