package generation

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Difference is a holder whose figures differ between two generations, at the same
// position of the log.
type Difference struct {
	Partition int
	Holder    string
	Position  uint64   // of the holder's last event; the later one if they differ
	Only      string   // the generation that has the holder, if the other one has not
	Figures   []Figure // those that differ
	Tokens    []string // of the pairs that differ, those that could be found
}

// Figure is a figure as two generations have it.
type Figure struct{ Name, A, B string }

// Tally is what came of a comparison.
type Tally struct {
	Holders    uint64 // compared
	Different  uint64
	Later      uint64 // not compared: their last event comes after the end of one of the generations
	Partitions int    // done
}

// Comparison compares two generations holder by holder, each at the same position
// of the log. It is not safe for concurrent use.
//
// It walks both by holder, a page at a time. A holder is done if both have the same
// figures at the same position and no break lies ahead. The others are compared again,
// some hundred at a time: B is paused at a position that A's store has, so that holders
// with events all the time are compared too. Then the lookahead is compared as well: how
// their pairs go on after the last event.
type Comparison struct {
	Conn       *nats.Conn
	Partitions int
	End        func(ctx context.Context, partition int) (uint64, error) // last position of a partition
	A, B       Record                                                   // B is the one that may be paused: not the active one, or it ends
	// Found is called for each difference. Its error ends the comparison.
	Found func(*Difference) error
	// Moved is called now and then. It may be nil.
	Moved func(Tally)

	tally        Tally
	stalledAfter time.Duration // how long a partition may stand still that is waited for; 0: stallMost
}

const (
	// settleMost is how many holders are compared again at once.
	settleMost = 500
	// askAgain is the pause where nobody answered.
	askAgain = 100 * time.Millisecond
	// askMost is how long a question may go unanswered.
	askMost = 45 * time.Second
	// stallMost is how long a partition may stand still while it is waited for.
	stallMost = time.Minute
	// tokensMost is how many tokens of a holder are named.
	tokensMost = 20
)

// ErrSilent: no worker answers questions about a generation.
var ErrSilent = errors.New("generation: no answer")

// Run compares. A difference is not an error.
func (c *Comparison) Run(ctx context.Context) (Tally, error) {
	if c.stalledAfter == 0 {
		c.stalledAfter = stallMost
	}
	for p := range c.Partitions {
		if err := c.partition(ctx, p); err != nil {
			return c.tally, err
		}
		c.tally.Partitions++
		c.moved()
	}
	return c.tally, nil
}

func (c *Comparison) moved() {
	if c.Moved != nil {
		c.Moved(c.tally)
	}
}

// end returns the last position that both ever have, or 0 if neither ends.
func (c *Comparison) end() uint64 {
	switch {
	case c.A.Until == 0:
		return c.B.Until
	case c.B.Until == 0:
		return c.A.Until
	}
	return min(c.A.Until, c.B.Until)
}

func (c *Comparison) partition(ctx context.Context, partition int) error {
	a, b := walk{c: c, name: c.A.Name, partition: partition}, walk{c: c, name: c.B.Name, partition: partition}
	end, err := c.End(ctx, partition)
	if err != nil {
		return err
	}
	for _, g := range []*Record{&c.A, &c.B} {
		if _, err := c.ask(ctx, g.Name, partition, &question{Ask: askResume}); err != nil {
			return err // nobody is there
		}
	}
	// Everything that is in the log now is compared in any case.
	for _, g := range []*Record{&c.A, &c.B} {
		if g.Until == 0 {
			if err := c.awaitApplied(ctx, g.Name, partition, end); err != nil {
				return err
			}
		}
	}
	var again []string
	for {
		ha, err := a.at(ctx)
		if err != nil {
			return err
		}
		hb, err := b.at(ctx)
		if err != nil {
			return err
		}
		switch {
		case ha == nil && hb == nil:
			return c.settle(ctx, partition, again)
		case hb == nil || ha != nil && ha.Holder < hb.Holder:
			again = append(again, ha.Holder)
			a.next()
		case ha == nil || hb.Holder < ha.Holder:
			again = append(again, hb.Holder)
			b.next()
		default:
			same := ha.Position == hb.Position
			if same {
				figures, err := differing(ha.Figures, hb.Figures)
				if err != nil {
					return err
				}
				same = len(figures.rows) == 0 && !figures.ahead
			}
			if same {
				c.tally.Holders++
			} else {
				again = append(again, ha.Holder)
			}
			a.next()
			b.next()
		}
		if len(again) == settleMost {
			if err := c.settle(ctx, partition, again); err != nil {
				return err
			}
			again = again[:0]
		}
		if c.tally.Holders%1000 == 0 {
			c.moved()
		}
	}
}

// settle compares holders for certain.
func (c *Comparison) settle(ctx context.Context, partition int, holders []string) error {
	for len(holders) > 0 {
		done, err := c.settleSome(ctx, partition, holders)
		if err != nil {
			return err
		}
		holders = holders[done:]
		c.moved()
	}
	return nil
}

// settleSome compares the first ones of holders, and returns how many.
func (c *Comparison) settleSome(ctx context.Context, partition int, holders []string) (done int, err error) {
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		_, gone := c.ask(ending, c.B.Name, partition, &question{Ask: askResume})
		if err == nil {
			err = gone
		}
	}()
	for {
		// B is paused, A is at least as far, and then B goes on exactly to where A was read.
		at, err := c.ask(ctx, c.B.Name, partition, &question{Ask: askPause})
		if err != nil {
			return 0, err
		}
		if c.A.Until == 0 || at.Position <= c.A.Until {
			if err := c.awaitApplied(ctx, c.A.Name, partition, at.Position); err != nil {
				return 0, err
			}
		}
		q := question{Ask: askHolders, Holders: holders}
		ofA, err := c.ask(ctx, c.A.Name, partition, &q)
		if err != nil {
			return 0, err
		}
		stands, err := c.ask(ctx, c.B.Name, partition, &question{Ask: askPause, Position: ofA.Position})
		if err != nil {
			return 0, err
		}
		if ofA.Done == 0 {
			return 0, fmt.Errorf("generation %s, partition %d: its worker is of an older version, which has no lookahead: upgrade it", c.A.Name, partition)
		}
		q.Holders, q.At = holders[:ofA.Done], ofA.At
		ofB, err := c.ask(ctx, c.B.Name, partition, &q)
		if err != nil {
			return 0, err
		}
		if ofB.Position != stands.Position {
			continue // it went on, or another worker has it now
		}
		if ofB.Done == 0 {
			return 0, fmt.Errorf("generation %s, partition %d: its worker is of an older version, which has no lookahead: upgrade it", c.B.Name, partition)
		}
		if q.Holders, q.At = holders[:ofB.Done], ofB.At; q.At != ofA.At {
			// A has ended, and B is further: what B has sealed since can no longer be compared
			// as of A's end.
			position := ofA.Position
			if ofA, err = c.ask(ctx, c.A.Name, partition, &q); err != nil {
				return 0, err
			}
			if ofA.Position != position || ofA.At != q.At || ofA.Done < ofB.Done {
				continue
			}
		}
		return ofB.Done, c.compare(ctx, partition, q.Holders, q.At, byHolder(ofA), byHolder(ofB))
	}
}

func byHolder(a *answered) map[string]*holderAnswer {
	out := make(map[string]*holderAnswer, len(a.Holders))
	for i := range a.Holders {
		out[a.Holders[i].Holder] = &a.Holders[i]
	}
	return out
}

func (c *Comparison) compare(ctx context.Context, partition int, holders []string, at int64, ofA, ofB map[string]*holderAnswer) error {
	end := c.end()
	for _, name := range holders {
		a, b := ofA[name], ofB[name]
		if a == nil && b == nil {
			continue
		}
		if end != 0 && (a != nil && a.Position > end || b != nil && b.Position > end) {
			c.tally.Later++
			continue
		}
		c.tally.Holders++
		d := &Difference{Partition: partition, Holder: name}
		switch {
		case b == nil:
			d.Only, d.Position = c.A.Name, a.Position
		case a == nil:
			d.Only, d.Position = c.B.Name, b.Position
		default:
			d.Position = max(a.Position, b.Position)
			figures, err := differing(a.Figures, b.Figures)
			if err != nil {
				return err
			}
			d.Figures = figures.rows
			if len(d.Figures) == 0 && string(a.Lookahead) != string(b.Lookahead) {
				if err := c.explainLookahead(ctx, d, a, b, at); err != nil {
					return err
				}
			}
			if a.Position != b.Position {
				// An event that one counts and the other leaves out, by its rules.
				d.Figures = append(d.Figures, Figure{"last_event", strconv.FormatUint(a.Position, 10), strconv.FormatUint(b.Position, 10)})
			}
			if len(d.Figures) == 0 {
				continue
			}
			if d.Tokens == nil {
				if d.Tokens, err = c.tokens(ctx, partition, name, a.Position, b.Position); err != nil {
					return err
				}
			}
		}
		c.tally.Different++
		if err := c.Found(d); err != nil {
			return err
		}
	}
	return nil
}

// tokens returns those whose pairs differ, or nil if the holder has had another event
// meanwhile.
func (c *Comparison) tokens(ctx context.Context, partition int, holder string, atA, atB uint64) ([]string, error) {
	pairs := func(name string, at uint64) (map[string][]byte, error) {
		all := map[string][]byte{}
		for q := (question{Ask: askPairs, Holder: holder}); ; {
			page, err := c.ask(ctx, name, partition, &q)
			if err != nil || page.Position != at {
				return nil, err
			}
			for _, p := range page.Pairs {
				all[p.Token] = p.Figures
				q.After = p.Token
			}
			if !page.More || len(all) > 100*settleMost {
				return all, nil
			}
		}
	}
	a, err := pairs(c.A.Name, atA)
	if a == nil || err != nil {
		return nil, err
	}
	b, err := pairs(c.B.Name, atB)
	if b == nil || err != nil {
		return nil, err
	}
	return differingTokens(a, b)
}

// Compare compares two generations by name, and calls found for each difference: its
// error ends the comparison. moved is called now and then; it may be nil.
func (o *Operator) Compare(ctx context.Context, a, b string, found func(*Difference) error, moved func(Tally)) (Tally, error) {
	active, err := o.Registry.Active(ctx)
	if err != nil {
		return Tally{}, err
	}
	ofA, err := o.Get(ctx, a)
	if err != nil {
		return Tally{}, err
	}
	ofB, err := o.Get(ctx, b)
	if err != nil {
		return Tally{}, err
	}
	for _, g := range []*Record{&ofA, &ofB} {
		if g.Paused || g.Dropped {
			return Tally{}, fmt.Errorf("generation %s is paused or being dropped, so nobody can be asked about it", g.Name)
		}
	}
	c := Comparison{Conn: o.Log.JetStream().Conn(), Partitions: o.Log.Partitions(), End: o.Log.End, A: ofA, B: ofB, Found: found, Moved: moved}
	if b == active.Generation || ofA.Until != 0 && ofB.Until == 0 { // which must not be paused
		c.A, c.B = ofB, ofA
		c.Found = func(d *Difference) error {
			for i, f := range d.Figures {
				d.Figures[i] = Figure{f.Name, f.B, f.A}
			}
			return found(d)
		}
	}
	return c.Run(ctx)
}
