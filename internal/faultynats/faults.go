package faultynats

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"holdmetrics/internal/testseed"
)

// Faults are the lies of a [Broker]. Each rate is the share of the messages that it
// applies to, from 0 to 1.
type Faults struct {
	Seed uint64

	// PendingHigh is the rate of deliveries that claim more pending messages than
	// there are, PendingLow that of deliveries that claim none.
	PendingHigh, PendingLow float64
	// Twice is the rate of deliveries that come twice, Lost that of those that never
	// come.
	Twice, Lost float64
	// Late is the rate of deliveries and replies that are held back, for up to
	// MaxDelay (0: 20 ms). Order within a subscription is kept, as NATS does.
	Late     float64
	MaxDelay time.Duration
	// Silent is the rate of deliveries with which the subscription falls silent: that
	// delivery and all later ones are swallowed, and the heartbeats with them. Mute is
	// the same with heartbeats that go on.
	Silent, Mute float64
	// LostAcks is the rate of acknowledgements of published messages that are lost,
	// LostReplies that of answers to requests to JetStream.
	LostAcks, LostReplies float64

	// Most bounds how many faults of each kind happen, but for wrong counts; 0: no bound.
	Most int64
	// Only limits the faults of deliveries to one stream; "": all streams.
	Only string
}

// Mild are faults that every part of the product must get over without a test
// taking much longer.
func Mild(seed uint64) Faults {
	return Faults{
		Seed:        seed,
		PendingHigh: 0.3, PendingLow: 0.2,
		Late: 0.02, MaxDelay: 10 * time.Millisecond,
	}
}

// SeedOf is a seed for a test of that name; see [testseed.Of].
func SeedOf(name string) uint64 { return testseed.Of(name) }

// Hard are Mild, with messages that come twice or are lost.
func Hard(seed uint64) Faults {
	f := Mild(seed)
	f.Twice, f.Lost = 0.002, 0.002
	f.Most = 5
	return f
}

// Counts is how many faults of each kind a [Broker] has caused.
type Counts struct {
	Pending, Twice, Lost, Late, Silent, LostAcks, LostReplies int64
}

type kind int

const (
	pendingHigh kind = iota
	pendingLow
	twice
	lost
	late
	silent
	mute
	lostAck
	lostReply
	kinds
)

func (f *Faults) rate(k kind) float64 {
	return [kinds]float64{
		f.PendingHigh, f.PendingLow, f.Twice, f.Lost, f.Late, f.Silent, f.Mute, f.LostAcks, f.LostReplies,
	}[k]
}

// decider decides by the seed which faults happen to a message.
type decider struct {
	faults Faults
	counts [kinds]*atomic.Int64
	random *rand.Rand
}

func (f Faults) decide(counts *[kinds]atomic.Int64, what string, times uint64) *decider {
	d := &decider{faults: f, random: rand.New(rand.NewPCG(f.Seed, xxhash.Sum64String(what)+times*0x9e3779b97f4a7c15))}
	for k := range d.counts {
		d.counts[k] = &counts[k]
	}
	return d
}

// happens reports whether a fault happens, and counts it.
func (d *decider) happens(k kind) bool {
	// Always drawn, so that one rate does not change the others' outcome.
	drawn := d.random.Float64()
	if drawn >= d.faults.rate(k) {
		return false
	}
	n := d.counts[k].Add(1)
	if k != pendingHigh && k != pendingLow && k != late && d.faults.Most > 0 && n > d.faults.Most {
		d.counts[k].Add(-1)
		return false
	}
	return true
}

func (d *decider) delay() time.Duration {
	most := d.faults.MaxDelay
	if most <= 0 {
		most = 20 * time.Millisecond
	}
	return time.Duration(d.random.Int64N(int64(most))) + 1
}
