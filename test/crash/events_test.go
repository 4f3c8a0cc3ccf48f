package crash

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	holdpb "holdmetrics/proto"
)

const (
	crowdHolders = 40
	crowdTokens  = 3
	// crowdMoves is after how many events a producer's crowd turns to the next
	// token, so that a long run has more pairs and not larger ones.
	crowdMoves = 1000

	// Everything happened in these days, long ago, so that no clock decides anything.
	firstDay = 1_700_000_000
	days     = 20
)

// crowd makes up events: of a few holders, so that their holds overlap, in no
// order, of every kind.
type crowd struct {
	name string // of the producer: makes ids its own
	rand *rand.Rand
	ids  int
	made int               // events so far
	past []*holdpb.HoldMsg // some of what was made, to be sent again and to be taken back
}

func newCrowd(name string, seed, stream uint64) *crowd {
	return &crowd{name: name, rand: rand.New(rand.NewPCG(seed, stream))}
}

// batch is the next events, some of which were there before.
func (c *crowd) batch(n int) []*holdpb.HoldMsg {
	batch := make([]*holdpb.HoldMsg, n)
	for i := range batch {
		batch[i] = c.event()
	}
	c.rand.Shuffle(n, func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
	return batch
}

func (c *crowd) event() *holdpb.HoldMsg {
	if len(c.past) > 0 && c.rand.IntN(6) == 0 {
		return c.past[c.rand.IntN(len(c.past))]
	}
	m := c.fresh()
	if len(c.past) < 512 {
		c.past = append(c.past, m)
	} else {
		c.past[c.rand.IntN(len(c.past))] = m
	}
	return m
}

func (c *crowd) fresh() *holdpb.HoldMsg {
	c.made++
	m := &holdpb.HoldMsg{
		TokenId:  fmt.Sprintf("token-%d", c.made/crowdMoves+c.rand.IntN(crowdTokens)),
		HolderId: fmt.Sprintf("holder %d", c.rand.IntN(crowdHolders)),
	}
	start := c.instant()
	switch c.rand.IntN(12) {
	case 0, 1: // open
		m.Start = start
		m.WeightExact = c.weight()
	case 2: // a stop
		m.End = start
		if c.ids > 0 && c.rand.IntN(3) == 0 {
			m.HoldId = fmt.Sprintf("%s-%d", c.name, c.rand.IntN(c.ids))
			m.Revision = c.rand.Uint64N(4)
		}
	case 3: // what was sent before is taken back, or ended
		if len(c.past) > 0 {
			return c.about(c.past[c.rand.IntN(len(c.past))])
		}
		m.Start = start
	case 4, 5: // with a hold_id, whose revisions follow each other
		c.ids++
		m.HoldId = fmt.Sprintf("%s-%d", c.name, c.rand.IntN(c.ids))
		m.Revision = c.rand.Uint64N(4)
		m.Start, m.End = start, c.later(start)
		m.WeightExact = c.weight()
	default:
		m.Start, m.End = start, c.later(start)
		if c.rand.IntN(3) > 0 {
			m.WeightExact = c.weight()
		} else {
			m.Weight = float64(c.rand.IntN(50)) / 8
		}
	}
	return m
}

// about is an event that changes what an earlier one said.
func (c *crowd) about(earlier *holdpb.HoldMsg) *holdpb.HoldMsg {
	m := &holdpb.HoldMsg{
		TokenId: earlier.TokenId, HolderId: earlier.HolderId, HoldId: earlier.HoldId, Revision: earlier.Revision,
		Start: earlier.Start, End: earlier.End, Weight: earlier.Weight, WeightExact: earlier.WeightExact,
	}
	switch {
	case m.HoldId != "" && m.Start != nil && c.rand.IntN(2) == 0:
		m.Revision++
		m.End = c.later(m.Start)
	case m.Start != nil && m.End == nil && c.rand.IntN(2) == 0:
		m.End = c.later(m.Start)
	default:
		m.Retract = true
	}
	return m
}

func (c *crowd) instant() *timestamppb.Timestamp {
	// Whole hours meet each other; the others do not.
	at := firstDay + 3600*c.rand.Int64N(24*days)
	if c.rand.IntN(2) == 0 {
		return &timestamppb.Timestamp{Seconds: at}
	}
	return &timestamppb.Timestamp{Seconds: at + c.rand.Int64N(3600), Nanos: c.rand.Int32N(1e9)}
}

func (c *crowd) later(than *timestamppb.Timestamp) *timestamppb.Timestamp {
	end := than.AsTime().Add(time.Duration(c.rand.Int64N(int64(36 * time.Hour))))
	return timestamppb.New(end)
}

func (c *crowd) weight() string {
	w := strconv.FormatUint(c.rand.Uint64N(1000), 10)
	if c.rand.IntN(2) == 0 {
		w += fmt.Sprintf(".%018d", c.rand.Uint64N(1e18))
	}
	return w
}
