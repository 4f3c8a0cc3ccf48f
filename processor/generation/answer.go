package generation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/hold"
	"holdmetrics/internal/responder"
	"holdmetrics/processor"
	"holdmetrics/projection"
)

// A comparison of generations asks the process that runs a partition, which alone can
// read its store, or can read it best:
//
//	hold.ctl.read.<generation>.<partition>   request: a question, reply: an answer, both JSON
//
// An answer is bounded, and the next one is sent on request, so nobody is flooded. A
// process that does not run the partition does not reply.
const readPrefix = "hold.ctl.read."

// The questions, by their names on the wire.
const (
	askHolders   = "holders" // those after After, by name; or those in Holders
	askPairs     = "pairs"   // of Holder, after After
	askLookahead = "beyond"  // how the pairs of Holder go on from At, after After; or that of Token alone
	askReach     = "reach"   // how far the partition is
	askPause     = "stand"   // apply up to Position, and no further; see processor.Worker.Pause
	askResume    = "go"      // go on
)

type question struct {
	Ask      string   `json:"ask"`
	After    string   `json:"after,omitempty"`
	Holders  []string `json:"holders,omitempty"`
	Holder   string   `json:"holder,omitempty"`
	Token    string   `json:"token,omitempty"`
	Position uint64   `json:"position,omitempty"`
	At       int64    `json:"at,omitempty"` // ns: where the lookahead begins
}

type answered struct {
	Error    string         `json:"error,omitempty"`
	Position uint64         `json:"position,omitempty"` // of the checkpoint that was read, or where the partition is paused
	At       int64          `json:"at,omitempty"`       // ns: where the lookahead begins: At of the question, or the log's time of Position if that is later
	Done     int            `json:"done,omitempty"`     // how many of the named holders were read
	Holders  []holderAnswer `json:"holders,omitempty"`
	Pairs    []pairAnswer   `json:"pairs,omitempty"`
	More     bool           `json:"more,omitempty"`
	Reach    *Watermark     `json:"reach,omitempty"`
}

type holderAnswer struct {
	Holder    string `json:"holder"`
	Position  uint64 `json:"position"`
	Figures   []byte `json:"figures"`          // as hold.Figures.Append gives them
	Lookahead []byte `json:"beyond,omitempty"` // hash of the lookahead; of named holders only
}

type pairAnswer struct {
	Token   string      `json:"token"`
	Figures []byte      `json:"figures,omitempty"`
	Digest  []byte      `json:"digest,omitempty"` // hash of the lookahead
	Base    hold.Amount `json:"base"`             // at At
	Slopes  []slope     `json:"slopes,omitempty"` // from there on
}

const (
	// answerBytes is how large an answer grows, about: well below what a broker takes.
	answerBytes = 192 << 10
	// answersAtOnce bounds how many questions about a generation are answered together.
	answersAtOnce = 8
	// answerWithin bounds one answer.
	answerWithin = 30 * time.Second
)

// errFull ends a walk whose answer is full.
var errFull = errors.New("full")

// answer answers questions about a generation until stop is called, which waits
// for the last answer, or until its context ends.
func answer(conn *nats.Conn, g *Instance) (stop func(context.Context) error, err error) {
	o := responder.Options{AtOnce: answersAtOnce, Within: answerWithin}
	r, err := responder.Start(conn, readPrefix+g.Name+".*", o, func(m *nats.Msg) func(context.Context) {
		partition, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		if err != nil || !g.Worker.Runs(partition) {
			return nil
		}
		var q question
		asked := json.Unmarshal(m.Data, &q)
		if asked == nil && q.Ask == askReach { // of all partitions at once, and known at once
			if text, err := json.Marshal(&answered{Reach: g.watermark(partition)}); err == nil {
				_ = m.Respond(text) // else it is asked again
			}
			return nil
		}
		return func(ctx context.Context) {
			a := &answered{}
			if asked != nil {
				a.Error = "cannot decode the question: " + asked.Error()
			} else if a = g.reply(ctx, partition, &q); a == nil {
				return
			}
			text, err := json.Marshal(a)
			if err != nil {
				return
			}
			_ = m.Respond(text) // else it is asked again
		}
	})
	if err != nil {
		return nil, fmt.Errorf("generation: subscribe to questions: %w", err)
	}
	return r.Stop, nil
}

// reply returns the answer to a question, or nil if another process answers it soon.
func (g *Instance) reply(ctx context.Context, partition int, q *question) *answered {
	a, err := g.answer(ctx, partition, q)
	switch {
	case err == nil:
		return a
	case errors.Is(err, processor.ErrStopped), errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		text := fmt.Sprintf("no answer to %q within %v", q.Ask, answerWithin)
		if at := g.watermark(partition); at != nil {
			text += fmt.Sprintf(": applied %d, stored %d, wanted %d", at.Position, at.Stored, q.Position)
		}
		return &answered{Error: text}
	}
	return &answered{Error: err.Error()}
}

func (g *Instance) answer(ctx context.Context, partition int, q *question) (a *answered, err error) {
	a = &answered{}
	switch q.Ask {
	case askHolders:
		if q.Holders == nil {
			return a, g.walkHolders(ctx, partition, q.After, a)
		}
		return a, g.readHolders(ctx, partition, q, a)
	case askPairs:
		return a, g.readPairs(ctx, partition, q, a)
	case askLookahead:
		return a, g.readLookahead(ctx, partition, q, a)
	case askPause:
		a.Position, err = g.Worker.Pause(ctx, partition, q.Position)
		return a, err
	case askResume:
		g.Worker.Resume(partition)
		return a, nil
	}
	return nil, fmt.Errorf("question %q is not known to this version", q.Ask)
}

func (g *Instance) walkHolders(ctx context.Context, partition int, after string, a *answered) error {
	size := 0
	err := g.Store.Holders(ctx, partition, after, func(r *projection.HolderRecord) error {
		if size > answerBytes {
			a.More = true
			return errFull
		}
		h := holderAnswer{Holder: strings.Clone(r.Holder), Position: r.Position, Figures: r.Figures.Append(nil)}
		a.Holders = append(a.Holders, h)
		size += len(h.Holder) + 2*len(h.Figures) + 64
		return nil
	})
	if errors.Is(err, errFull) {
		return nil
	}
	return err
}

// readHolders reads holders at one checkpoint, and leaves out those that are not there.
// If it takes long, the last ones are left to another question.
func (g *Instance) readHolders(ctx context.Context, partition int, q *question, a *answered) (err error) {
	view, err := g.Store.View(ctx, partition)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	c, _ := view.Checkpoint()
	a.Position, a.At = c.Position, max(q.At, c.LogTime)
	began := time.Now()
	for _, name := range q.Holders {
		if time.Since(began) > lookaheadFor {
			return nil
		}
		a.Done++
		r, err := view.Holder(ctx, name)
		if errors.Is(err, projection.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		h := holderAnswer{Holder: name, Position: r.Position, Figures: r.Figures.Append(nil)}
		if h.Lookahead, err = g.lookahead(ctx, view, name, a.At); err != nil {
			return err
		}
		a.Holders = append(a.Holders, h)
	}
	return nil
}

// readPairs reads figures of a holder's pairs.
func (g *Instance) readPairs(ctx context.Context, partition int, q *question, a *answered) error {
	return g.walkPairs(ctx, partition, q, a, func(p *projection.PairRecord) (*pairAnswer, int, error) {
		f := &pairAnswer{Token: strings.Clone(p.Key.Token), Figures: p.Figures.Append(nil)}
		return f, 2 * len(f.Figures), nil
	})
}

// walkPairs fills an answer with what read makes of a holder's pairs after q.After, or of
// that of q.Token. read returns nil to leave a pair out, and the size beside the token.
func (g *Instance) walkPairs(ctx context.Context, partition int, q *question, a *answered, read func(*projection.PairRecord) (out *pairAnswer, size int, err error)) (err error) {
	view, err := g.Store.View(ctx, partition)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	r, err := view.Holder(ctx, q.Holder)
	if errors.Is(err, projection.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	a.Position = r.Position // of the holder
	size := 0
	err = view.Pairs(ctx, q.Holder, func(p *projection.PairRecord) error {
		if q.After != "" && p.Key.Token <= q.After || q.Token != "" && p.Key.Token != q.Token {
			return nil
		}
		if size > answerBytes {
			a.More = true
			return errFull
		}
		out, more, err := read(p)
		if err == nil && out != nil {
			a.Pairs = append(a.Pairs, *out)
		}
		size += len(p.Key.Token) + more + 64
		return err
	})
	if errors.Is(err, errFull) {
		return nil
	}
	return err
}
