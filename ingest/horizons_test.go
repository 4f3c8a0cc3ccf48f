package ingest

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
)

// A producer in another process than the one that seals: what it acknowledges is in the
// log before the seal, however the two meet.
func TestProducerOfAnotherProcessWhileTheLogIsSealed(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	l, err := OpenLog(t.Context(), connect(t, server), LogConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	other, err := OpenLog(t.Context(), connect(t, server), LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := NewProducer(other, ProducerOptions{Now: testClock})
	defer mustClose(t, p)
	const horizon = int64(1000e9)
	early := func(i int) (uint64, error) {
		d := open("t", "h", 1+int64(i))
		d.End = hold.Stamp{Seconds: 900, Set: true}
		return p.Record(t.Context(), &d)
	}
	if _, err := early(0); err != nil {
		t.Fatal(err)
	}
	sealed := make(chan error, 1)
	go func() { sealed <- l.Seal(t.Context(), horizon, now) }()
	var last uint64
	for i, over := 1, false; !over; i++ {
		select {
		case err := <-sealed:
			if over = true; err != nil {
				t.Fatal(err)
			}
		default:
		}
		position, err := early(i % 800)
		if err == nil {
			last = max(last, position)
		} else if !errors.Is(err, hold.ErrSealed) && !errors.Is(err, ErrNotAcknowledged) {
			t.Fatal(err)
		}
	}
	var seal uint64
	for _, m := range messages(t, l) {
		if IsSeal(m.data) {
			seal = m.sequence
		}
	}
	if last >= seal {
		t.Errorf("an event at %d was acknowledged that no reader takes, since the log was sealed at %d", last, seal)
	}
}

// horizonsLog says what a test has it say.
type horizonsLog struct {
	now     *horizons
	answers []func(*horizonsLog) error // of questions, in order
}

func (l *horizonsLog) known() *horizons { return l.now }

func (l *horizonsLog) askHorizons(context.Context) error {
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return answer(l)
}

// What the log acknowledged is reported where it is sure that no seal came before.
func TestAcknowledgedBeforeTheSeal(t *testing.T) {
	t.Parallel()
	long := time.Now().Add(-knownFor)
	same := func(l *horizonsLog) error { at := time.Now(); l.now.asked.Store(&at); return nil }
	more := func(l *horizonsLog) error { l.now = &horizons{all: []int64{1}}; return nil }
	away := func(*horizonsLog) error { return ErrNoLeader }
	for name, c := range map[string]struct {
		asked   time.Time // zero: never
		answers []func(*horizonsLog) error
		want    error
	}{
		"known":                 {asked: time.Now().Add(time.Hour)},
		"never asked":           {answers: []func(*horizonsLog) error{same}},
		"asked long ago":        {asked: long, answers: []func(*horizonsLog) error{same}},
		"no answer at first":    {asked: long, answers: []func(*horizonsLog) error{away, away, same}},
		"sealed meanwhile":      {asked: long, answers: []func(*horizonsLog) error{more}, want: errSealedMeanwhile},
		"answered, then sealed": {asked: long, answers: []func(*horizonsLog) error{away, more}, want: errSealedMeanwhile},
	} {
		s, p := slowProducer(t, ProducerOptions{RetryWait: time.Millisecond, RetryFor: time.Hour, AttemptTimeout: time.Hour})
		log := &horizonsLog{now: &horizons{}, answers: c.answers}
		if !c.asked.IsZero() {
			log.now.asked.Store(&c.asked)
		}
		p.log = log
		f := make(fates, 1)
		f.send(t, p, 0)
		<-s.arrived
		s.answer <- nil
		if err := <-f; !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err != nil && !errors.Is(err, ErrNotAcknowledged) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if len(log.answers) > 0 {
			t.Errorf("%s: %d questions were not asked", name, len(log.answers))
		}
	}
}

// An answer that is older than what is known takes nothing away, and a frame has
// the oldest of what its events were checked by.
func TestHorizonsOnlyGrow(t *testing.T) {
	t.Parallel()
	var l Log
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	l.learnHorizons(nil, at(1))
	none := l.known()
	l.learnHorizons([]int64{5}, at(3))
	one := l.known()
	l.learnHorizons(nil, at(4)) // of a server that is behind
	l.learnHorizons([]int64{5}, at(2))
	if l.known() != one || !one.asked.Load().Equal(at(3)) || !none.asked.Load().Equal(at(1)) {
		t.Errorf("known %v of %v, before %v", l.known().all, one.asked.Load(), none.asked.Load())
	}
	for after, fresh := range map[time.Duration]bool{0: true, knownFor - 1: true, knownFor: false, time.Hour: false} {
		if one.fresh(at(3).Add(after)) != fresh {
			t.Errorf("fresh %v after it was asked: %v", after, !fresh)
		}
	}
	d := open("t", "h", 1)
	batcher := &batcher{most: MaxFrameBytes, wake: make(chan struct{}, 1)}
	for _, by := range []*horizons{one, none, one} {
		batcher.put(&d, sizeEvent(&d), by, entry{}, nil, func() *openFrame { return new(openFrame) })
	}
	if f := batcher.next(); f.by != none {
		t.Errorf("a frame goes by %v", f.by.all)
	}
}
