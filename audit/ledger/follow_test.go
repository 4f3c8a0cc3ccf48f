package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"holdmetrics/audit/check"
	"holdmetrics/audit/immu"
	"holdmetrics/audit/ledger"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

// database is a copy in memory that breaks off now and then.
type database struct {
	entries []immu.Entry
	latest  map[string][]byte
	random  *rand.Rand
	of      int   // one call of so many is cut off, before or after
	sizes   []int // of what was written at once
}

var errCut = errors.New("cut off")

func (d *database) Set(_ context.Context, pairs []immu.Pair) error {
	d.sizes = append(d.sizes, len(pairs))
	for part := range slices.Chunk(pairs, immu.MaxKeys) {
		if d.random.IntN(d.of) == 0 {
			return errCut // this transaction was not written
		}
		for _, p := range part {
			d.entries = append(d.entries, immu.Entry{Tx: uint64(len(d.entries)), Key: p.Key, Value: p.Value, Plain: true})
			d.latest[string(p.Key)] = p.Value
		}
		if d.random.IntN(d.of) == 0 {
			return errCut // it was written, and the answer is lost
		}
	}
	return nil
}

func (d *database) Get(_ context.Context, key []byte) ([]byte, error) {
	if v, ok := d.latest[string(key)]; ok {
		return v, nil
	}
	return nil, immu.ErrNotFound
}

func (d *database) Look(context.Context) error { return nil }

func (d *database) Each(_ context.Context, f func(*immu.Entry) error) error {
	for i := range d.entries {
		if err := f(&d.entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// memory is a log in memory.
type memory struct{ messages []*ingest.Message }

func (l *memory) ID() string                                        { return "memory" }
func (l *memory) Partitions() int                                   { return 4 }
func (l *memory) LimitsAt(uint64) hold.Limits                       { return hold.DefaultLimits() }
func (l *memory) IsLost(position uint64) bool                       { return position%41 == 0 }
func (l *memory) KnowsHorizon(context.Context, int64) (bool, error) { return false, nil }
func (l *memory) LastPosition(context.Context) (uint64, error) {
	return l.messages[len(l.messages)-1].Position, nil
}

func (l *memory) Read(_ context.Context, r ingest.Range) iter.Seq2[*ingest.Message, error] {
	return func(yield func(*ingest.Message, error) bool) {
		for _, m := range l.messages {
			if m.Position >= r.From && (r.To == 0 || m.Position <= r.To) && !yield(m, nil) {
				return
			}
		}
	}
}

func (l *memory) grow(n int) {
	for range n {
		position := uint64(1)
		if len(l.messages) > 0 {
			position = l.messages[len(l.messages)-1].Position + 1
		}
		if l.IsLost(position) {
			position++
		}
		holder := fmt.Sprintf("h%d", position%9)
		var w ingest.FrameWriter
		for i := range 4 {
			w.AppendDraft(&hold.Draft{Token: "T", Holder: holder, Start: hold.Stamp{Set: true, Seconds: int64(position)*100 + int64(i)}})
		}
		l.messages = append(l.messages, &ingest.Message{Position: position, Partition: ingest.Partition(holder, 4), Time: 1_700_000_000e9 + int64(position), Data: append([]byte(nil), w.Bytes()...)})
	}
}

// TestACopyThatIsCutOffAgainAndAgainIsWhole ends followers anywhere, two hundred times,
// and wants no difference in what they have written together.
func TestACopyThatIsCutOffAgainAndAgainIsWhole(t *testing.T) {
	t.Parallel()
	d := &database{latest: map[string][]byte{}, random: rand.New(rand.NewPCG(1, 2)), of: 4}
	log := &memory{}
	log.grow(1)
	rules := hold.PlainRules(hold.Merge)
	follow := func() error {
		return ledger.NewFollower(ledger.Config{Log: log, Copy: d, Rules: rules, StateEvery: 7}).CatchUp(t.Context())
	}
	cuts := 0
	for cuts < 200 {
		log.grow(d.random.IntN(3))
		if err := follow(); errors.Is(err, errCut) {
			cuts++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for follow() != nil {
	}
	result, err := check.Run(t.Context(), check.Config{Log: log, Copy: d, Rules: rules}, func(d check.Difference) { t.Error(d) })
	if err != nil {
		t.Fatal(err)
	}
	if result.Messages != uint64(len(log.messages)) || result.States == 0 {
		t.Errorf("%+v of %d messages", result, len(log.messages))
	}
	// And one follower that goes on after its own cuts.
	f := ledger.NewFollower(ledger.Config{Log: log, Copy: d, Rules: rules, StateEvery: 7})
	for range 50 {
		log.grow(2)
		for f.CatchUp(t.Context()) != nil {
		}
	}
	if _, err := check.Run(t.Context(), check.Config{Log: log, Copy: d, Rules: rules}, func(d check.Difference) { t.Error(d) }); err != nil {
		t.Fatal(err)
	}
}

// TestMuchIsWrittenInFullTransactions copies what fills many transactions, which messages
// do not end with, and is cut off within them.
func TestMuchIsWrittenInFullTransactions(t *testing.T) {
	t.Parallel()
	d := &database{latest: map[string][]byte{}, random: rand.New(rand.NewPCG(3, 4)), of: 20}
	log := &memory{}
	log.grow(1500)
	rules := hold.PlainRules(hold.Merge)
	follow := func() error {
		return ledger.NewFollower(ledger.Config{Log: log, Copy: d, Rules: rules, StateEvery: 100}).CatchUp(t.Context())
	}
	for cuts := 0; cuts < 20; {
		switch err := follow(); {
		case errors.Is(err, errCut):
			cuts++
		case err != nil:
			t.Fatal(err)
		default:
			log.grow(500)
		}
	}
	d.of, d.sizes = 1<<30, nil
	log.grow(4000)
	if err := follow(); err != nil {
		t.Fatal(err)
	}
	for _, n := range d.sizes[:len(d.sizes)-1] {
		if n%immu.MaxKeys != 0 {
			t.Errorf("%d keys were written at once", n)
		}
	}
	if len(d.sizes) < 4 {
		t.Errorf("%d calls", len(d.sizes))
	}
	result, err := check.Run(t.Context(), check.Config{Log: log, Copy: d, Rules: rules}, func(d check.Difference) { t.Error(d) })
	if err != nil || result.Messages != uint64(len(log.messages)) {
		t.Errorf("%+v of %d messages, %v", result, len(log.messages), err)
	}
}
