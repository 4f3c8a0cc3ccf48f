package crash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// blow is something that is done to a process.
type blow int

const (
	killed      blow = iota // SIGKILL, and started again
	killedTwice             // and once more while it starts
	held                    // SIGSTOP for a while, then SIGCONT
	restarted               // SIGTERM, and started again when it has ended
	blows
)

func (b blow) String() string {
	return [blows]string{"killed", "killed, and again while it starts", "held", "asked to stop"}[b]
}

// strike is a blow at a process.
type strike struct {
	blow blow
	at   *process
}

// chaos disturbs one process after the other.
type chaos struct {
	t     *testing.T
	rand  *rand.Rand
	load  *load
	procs []*process
	pause time.Duration // how long a process is held: longer than a lease where there are leases

	began time.Time
	deck  []strike
	count map[string]*[blows]int // by what the process is
}

func newChaos(t *testing.T, r *rand.Rand, l *load, pause time.Duration, procs ...*process) *chaos {
	return &chaos{t: t, rand: r, load: l, procs: procs, pause: pause, began: time.Now(), count: map[string]*[blows]int{}}
}

// next is the next strike. All processes are struck in all ways, some more often,
// in an order of the seed's, before it begins again.
func (c *chaos) next() strike {
	if len(c.deck) == 0 {
		for _, p := range c.procs {
			for b, times := range [blows]int{killed: 4, killedTwice: 2, held: 1, restarted: 1} {
				for range times {
					c.deck = append(c.deck, strike{blow(b), p})
				}
			}
		}
		c.rand.Shuffle(len(c.deck), func(i, j int) { c.deck[i], c.deck[j] = c.deck[j], c.deck[i] })
	}
	s := c.deck[0]
	c.deck = c.deck[1:]
	return s
}

// disturb does n things to processes, each after some more events were acknowledged.
func (c *chaos) disturb(n int) {
	for range n {
		c.do(c.next())
	}
	c.alive()
}

func (c *chaos) do(s strike) {
	c.t.Helper()
	c.load.more(c.t, c.rand.Int64N(10)*batchSize)
	p := s.at
	c.t.Logf("%s, after %d events: %s is %s", time.Now().UTC().Format("15:04:05.000"), c.load.events.Load(), p.name, s.blow)
	switch s.blow {
	case killed:
		p.kill()
	case killedTwice:
		p.kill()
		// At any moment of a start, which says nothing that one could wait for.
		time.Sleep(time.Duration(c.rand.Int64N(int64(time.Second))))
		p.kill()
	case held:
		p.hold()
		// What it misses meanwhile is the point.
		time.Sleep(c.pause)
		p.release()
	case restarted:
		p.restart()
	}
	if c.count[p.kind()] == nil {
		c.count[p.kind()] = &[blows]int{}
	}
	c.count[p.kind()][s.blow]++
}

// alive fails the test where a process has ended by itself.
func (c *chaos) alive() {
	for _, p := range c.procs {
		p.alive()
	}
}

// summary says what was done and what came of it.
func (c *chaos) summary(v *verdict, watchers ...*watcher) {
	c.t.Helper()
	var kinds []string
	total := 0
	for kind, count := range c.count {
		var parts []string
		for b, n := range count {
			if total += n; n > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", blow(b), n))
			}
		}
		kinds = append(kinds, fmt.Sprintf("  %-9s %s", kind, strings.Join(parts, "; ")))
	}
	slices.Sort(kinds)
	updates, watches, back := 0, 0, 0
	for _, w := range watchers {
		updates, watches, back = updates+w.updates, watches+w.watches, back+w.back
	}
	c.t.Logf(`seed %d: %d disturbances in %s
%s
events     %d acknowledged, in batches of %d, of which %d were sent again
compared   %d holders, %d pairs, %d rows of figures, %d holds
different  %d
watched    %d updates in %d watches, in which a position stepped back %d times`,
		*seed, total, time.Since(c.began).Round(time.Second), strings.Join(kinds, "\n"),
		v.events, batchSize, v.again, v.holders, v.pairs, v.rows, v.holds, v.differences, updates, watches, back)
}
