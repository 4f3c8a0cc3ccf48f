package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"holdmetrics/audit/immu"
)

// Reader reads a copy. An [*immu.Client] is one.
type Reader interface {
	Get(ctx context.Context, key []byte) ([]byte, error)
	Each(ctx context.Context, f func(*immu.Entry) error) error
}

// Digest is what a copy has of a position, in short.
type Digest struct {
	Frame  [sha256.Size]byte // of the value of the frame
	Events int
	Sum    [sha256.Size]byte // over the values of the events, in order
	SHA256 string            // of the message; of the frame
}

// DigestOf returns the digest of what [Message] or [Lost] gave.
func DigestOf(pairs []immu.Pair) (Digest, error) {
	var d Digest
	var frame FrameRecord
	if err := json.Unmarshal(pairs[0].Value, &frame); err != nil {
		return d, err
	}
	d.Frame, d.SHA256 = sha256.Sum256(pairs[0].Value), frame.SHA256
	for i := range pairs[1:] {
		d.add(pairs[1+i].Value)
	}
	return d, nil
}

func (d *Digest) add(value []byte) {
	d.Events++
	sum := sha256.Sum256(value)
	d.Sum = sha256.Sum256(append(d.Sum[:], sum[:]...))
}

// Fault is something in a copy that a follower never writes.
type Fault struct {
	Position uint64 // 0: it is not about one
	Reason   string
}

// Contents is all that a copy has, without the events themselves.
type Contents struct {
	Log     LogRecord
	Has     PositionRecord
	Frames  map[uint64]*Digest
	States  []StateRecord
	Foreign int // keys of somebody else
	Faults  []Fault
}

// ReadContents reads all of a copy, and verifies it.
func ReadContents(ctx context.Context, r Reader) (*Contents, error) {
	c := &Contents{Frames: map[uint64]*Digest{}}
	states := map[string]StateRecord{}
	err := r.Each(ctx, func(e *immu.Entry) error {
		c.take(e, states)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if c.Log.Version == 0 {
		return nil, fmt.Errorf("the database has no copy of a log: run 'holdmetrics-audit follow' first, or name another database")
	}
	for _, s := range states {
		c.States = append(c.States, s)
	}
	slices.SortFunc(c.States, func(a, b StateRecord) int { return int(int64(a.Position) - int64(b.Position)) })
	return c, nil
}

func (c *Contents) fault(position uint64, format string, args ...any) {
	c.Faults = append(c.Faults, Fault{position, fmt.Sprintf(format, args...)})
}

func (c *Contents) take(e *immu.Entry, states map[string]StateRecord) {
	k := ParseKey(e.Key)
	if k.Kind == Foreign {
		c.Foreign++
		return
	}
	if e.Err != nil {
		c.fault(k.Position, "key %s: %v", e.Key, e.Err)
	}
	if e.Err == nil && !e.Plain {
		c.fault(k.Position, "key %s was deleted, or made a reference, in transaction %d", e.Key, e.Tx)
	}
	if e.Err != nil || !e.Plain {
		// Whatever the value is, the position has been dealt with.
		if k.Kind == OfFrame && c.Frames[k.Position] == nil {
			c.Frames[k.Position] = &Digest{Events: -1}
		}
		return
	}
	read := func(into any) bool {
		err := json.Unmarshal(e.Value, into)
		if err != nil {
			c.fault(k.Position, "key %s: the value is no record: %v", e.Key, err)
		}
		return err == nil
	}
	switch k.Kind {
	case OfLog:
		var l LogRecord
		if read(&l) {
			if c.Log.Version != 0 && c.Log != l {
				c.fault(0, "transaction %d names another log, %s", e.Tx, l.LogID)
				return
			}
			c.Log = l
		}
	case OfPosition:
		var has PositionRecord
		switch {
		case !read(&has):
		case has.From == 0 || has.Through < has.From-1:
			c.fault(0, "transaction %d says that positions %d to %d were copied", e.Tx, has.From, has.Through)
		case c.Has.From == 0:
			c.Has = has
		default:
			// What was copied once stays copied, whatever is written here later.
			c.Has = PositionRecord{From: min(c.Has.From, has.From), Through: max(c.Has.Through, has.Through)}
		}
	case OfFrame:
		var f FrameRecord
		if !read(&f) {
			return
		}
		d := &Digest{Frame: sha256.Sum256(e.Value), SHA256: f.SHA256}
		if was := c.Frames[k.Position]; was != nil && was.Events >= 0 && was.Frame != d.Frame {
			c.fault(k.Position, "transaction %d wrote another message over it", e.Tx)
			return
		}
		c.Frames[k.Position] = d // what follows are its events, from the first on
	case OfEvent:
		d := c.Frames[k.Position]
		switch {
		case d == nil:
			c.fault(k.Position, "transaction %d wrote event %d, and no message", e.Tx, k.Index)
		case d.Events < 0:
		case d.Events != k.Index:
			c.fault(k.Position, "transaction %d wrote event %d where event %d belongs", e.Tx, k.Index, d.Events)
		default:
			d.add(e.Value)
		}
	case OfState:
		var s StateRecord
		if !read(&s) {
			return
		}
		if was, ok := states[string(e.Key)]; ok && was != s {
			c.fault(s.Position, "transaction %d wrote another state of partition %d over it", e.Tx, s.Partition)
			return
		}
		states[string(e.Key)] = s
	}
}

// Events returns the values of the events of a position, verified.
func Events(ctx context.Context, r Reader, position uint64, n int) ([][]byte, error) {
	out := make([][]byte, 0, n)
	for i := range n {
		value, err := r.Get(ctx, EventKey(position, i))
		if errors.Is(err, immu.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}
