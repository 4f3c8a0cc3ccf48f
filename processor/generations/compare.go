package generations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/processor"
	"holdmetrics/processor/hold"
	"holdmetrics/projection/generation"
)

// Difference is a holder of whom two generations say something else, at the same
// position of the log.
type Difference struct {
	Partition int
	Holder    string
	Position  uint64      // of the holder's last event, in the one that has it, or has it later
	Only      string      // the generation that has the holder, where the other one has not
	Figures   [][3]string // name, and what each says
	Tokens    []string    // of the pairs that differ, those that could be told apart
}

// Tally is what came of a comparison.
type Tally struct {
	Holders    uint64 // compared
	Different  uint64
	Beyond     uint64 // not compared: their last event lies behind the end of one of the generations
	Partitions int    // done
}

// Comparison compares two generations holder by holder, each at the same position
// of the log. It is not safe for concurrent use.
//
// Both are walked by holder, some at a time. What is the same at the same position
// is settled with that. The others are looked at again, some hundred at a time: Still
// stands still for that moment, at a place where the other one's store is, so that
// even those are compared who have events all the time.
type Comparison struct {
	Conn       *nats.Conn
	Partitions int
	End        func(ctx context.Context, partition int) (uint64, error) // last position of a partition
	A, B       generation.Record                                        // B is the one that may stand still: not the active one, or it ends
	// Found is called for each difference; its error ends the comparison.
	Found func(*Difference) error
	// Moved is called now and then; nil: nobody looks.
	Moved func(Tally)

	tally Tally
}

const (
	// settleMost is how many holders are looked at again at once.
	settleMost = 500
	// askAgain is the pause where nobody answered.
	askAgain = 100 * time.Millisecond
	// askMost is how long nobody may answer.
	askMost = 45 * time.Second
	// tokensMost is how many tokens of a holder are named.
	tokensMost = 20
)

// ErrSilent: nobody answers questions about a generation.
var ErrSilent = errors.New("generations: nobody answers")

// Run compares. The error is why it could not; differences are none.
func (c *Comparison) Run(ctx context.Context) (Tally, error) {
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

// end is the last position that both ever have; 0: there is none.
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
	for _, g := range []*generation.Record{&c.A, &c.B} {
		if _, err := c.ask(ctx, g.Name, partition, &question{Ask: askGo}); err != nil {
			return err // nobody is there
		}
	}
	// What was in the log before is compared in any case.
	for _, g := range []*generation.Record{&c.A, &c.B} {
		if g.Until == 0 {
			if err := processor.Applied(c.Conn, g.Name)(ctx, partition, end); err != nil {
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
				same = len(figures) == 0
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
func (c *Comparison) settle(ctx context.Context, partition int, holders []string) (err error) {
	if len(holders) == 0 {
		return nil
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		_, gone := c.ask(ending, c.B.Name, partition, &question{Ask: askGo})
		if err == nil {
			err = gone
		}
	}()
	for {
		// B stands, A is at least as far, and then B goes exactly to where A was read.
		at, err := c.ask(ctx, c.B.Name, partition, &question{Ask: askStand})
		if err != nil {
			return err
		}
		if c.A.Until == 0 || at.Position <= c.A.Until {
			if err := processor.Applied(c.Conn, c.A.Name)(ctx, partition, at.Position); err != nil {
				return err
			}
		}
		ofA, err := c.ask(ctx, c.A.Name, partition, &question{Ask: askHolders, Holders: holders})
		if err != nil {
			return err
		}
		stands, err := c.ask(ctx, c.B.Name, partition, &question{Ask: askStand, Position: ofA.Position})
		if err != nil {
			return err
		}
		ofB, err := c.ask(ctx, c.B.Name, partition, &question{Ask: askHolders, Holders: holders})
		if err != nil {
			return err
		}
		if ofB.Position != stands.Position {
			continue // it went on, or another worker has it now
		}
		return c.compare(ctx, partition, holders, byHolder(ofA), byHolder(ofB))
	}
}

func byHolder(a *answered) map[string]*holderAnswer {
	out := make(map[string]*holderAnswer, len(a.Holders))
	for i := range a.Holders {
		out[a.Holders[i].Holder] = &a.Holders[i]
	}
	return out
}

func (c *Comparison) compare(ctx context.Context, partition int, holders []string, ofA, ofB map[string]*holderAnswer) error {
	end := c.end()
	for _, name := range holders {
		a, b := ofA[name], ofB[name]
		if a == nil && b == nil {
			continue
		}
		if end != 0 && (a != nil && a.Position > end || b != nil && b.Position > end) {
			c.tally.Beyond++
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
			var err error
			d.Position = max(a.Position, b.Position)
			if d.Figures, err = differing(a.Figures, b.Figures); err != nil {
				return err
			}
			if a.Position != b.Position {
				// An event that one counts and the other leaves out, by its rules.
				d.Figures = append(d.Figures, [3]string{"last_event", strconv.FormatUint(a.Position, 10), strconv.FormatUint(b.Position, 10)})
			}
			if len(d.Figures) == 0 {
				continue
			}
			if d.Tokens, err = c.tokens(ctx, partition, name, a.Position, b.Position); err != nil {
				return err
			}
		}
		c.tally.Different++
		if err := c.Found(d); err != nil {
			return err
		}
	}
	return nil
}

// tokens are those whose pairs differ. Where the holder has had another event
// meanwhile, none can be named.
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

// walk walks the holders of a partition.
type walk struct {
	c         *Comparison
	name      string
	partition int
	page      []holderAnswer
	after     string
	over      bool // there is no page behind this one
}

// at is the holder that the walk is at; nil: it is over.
func (w *walk) at(ctx context.Context) (*holderAnswer, error) {
	if len(w.page) == 0 && !w.over {
		a, err := w.c.ask(ctx, w.name, w.partition, &question{Ask: askHolders, After: w.after})
		if err != nil {
			return nil, err
		}
		w.page, w.over = a.Holders, !a.More
	}
	if len(w.page) == 0 {
		return nil, nil
	}
	return &w.page[0], nil
}

func (w *walk) next() {
	w.after = w.page[0].Holder
	w.page = w.page[1:]
}

// ask asks until somebody answers.
func (c *Comparison) ask(ctx context.Context, name string, partition int, q *question) (*answered, error) {
	text, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for {
		within, cancel := context.WithTimeout(ctx, answerWithin+time.Second)
		m, err := c.Conn.RequestWithContext(within, readPrefix+name+"."+strconv.Itoa(partition), text)
		cancel()
		switch {
		case err == nil:
			var a answered
			if err := json.Unmarshal(m.Data, &a); err != nil {
				return nil, fmt.Errorf("generations: the answer about generation %s is not to be read: %w", name, err)
			}
			if a.Error != "" {
				return nil, fmt.Errorf("generations: generation %s, partition %d: %s", name, partition, a.Error)
			}
			return &a, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, nats.ErrConnectionClosed):
			return nil, err
		case time.Since(began) > askMost:
			return nil, fmt.Errorf("%w: generation %s, partition %d (hint: does a worker run that has it?)", ErrSilent, name, partition)
		}
		if err := pause(ctx, askAgain); err != nil {
			return nil, err
		}
	}
}

// differing says which figures differ. A line is the same where it says the same at
// any instant: it may begin at another one.
func differing(textA, textB []byte) ([][3]string, error) {
	if string(textA) == string(textB) {
		return nil, nil
	}
	a, _, err := hold.ParseFigures(textA)
	if err != nil {
		return nil, err
	}
	b, _, err := hold.ParseFigures(textB)
	if err != nil {
		return nil, err
	}
	var out [][3]string
	add := func(name, a, b string) {
		if a != b {
			out = append(out, [3]string{name, a, b})
		}
	}
	add("settled_score", a.Settled.Score.String(), b.Settled.Score.String())
	add("settled_held_seconds", a.Settled.Held.String(), b.Settled.Held.String())
	add("rate", a.Line.Rate.String(), b.Line.Rate.String())
	add("held_rate", strconv.FormatUint(a.Line.HeldRate, 10), strconv.FormatUint(b.Line.HeldRate, 10))
	if t := max(a.Line.Since, b.Line.Since); a.Line.Since == b.Line.Since || a.Line.Holds(t) && b.Line.Holds(t) {
		la, lb := a.Line.At(t), b.Line.At(t)
		add("live_score", la.Score.String(), lb.Score.String())
		add("live_held_seconds", la.Held.String(), lb.Held.String())
	} else {
		add("since", strconv.FormatInt(a.Line.Since, 10), strconv.FormatInt(b.Line.Since, 10))
	}
	add("waiting", strconv.FormatUint(a.Waiting, 10), strconv.FormatUint(b.Waiting, 10))
	return out, nil
}

func differingTokens(a, b map[string][]byte) ([]string, error) {
	var tokens []string
	for token, figures := range a {
		d, err := differing(figures, b[token])
		if b[token] == nil {
			d, err = [][3]string{{}}, nil
		}
		if err != nil {
			return nil, err
		}
		if len(d) > 0 {
			tokens = append(tokens, token)
		}
	}
	for token := range b {
		if a[token] == nil {
			tokens = append(tokens, token)
		}
	}
	return firstOf(tokens), nil
}

// firstOf are the first tokens by name, and one that says how many more there are.
func firstOf(tokens []string) []string {
	slices.Sort(tokens)
	if more := len(tokens) - tokensMost; more > 0 {
		return append(tokens[:tokensMost], fmt.Sprintf("and %d more", more))
	}
	return tokens
}
