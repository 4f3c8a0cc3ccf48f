package crash

import (
	"math/rand/v2"
	"testing"
	"time"
)

// chaos disturbs one process after the other.
type chaos struct {
	t     *testing.T
	rand  *rand.Rand
	load  *load
	procs []*process
	pause time.Duration // how long a process is held: longer than a lease where there are leases

	killed, early, paused, restarted int
}

// disturb does n things to processes, each after some more events were acknowledged.
func (c *chaos) disturb(n int) {
	for range n {
		p := c.procs[c.rand.IntN(len(c.procs))]
		c.load.more(c.t, c.rand.Int64N(10)*batchSize)
		switch c.rand.IntN(8) {
		case 0:
			c.t.Logf("after %d events: %s is asked to stop", c.load.events.Load(), p.name)
			p.restart()
			c.restarted++
		case 1:
			c.t.Logf("after %d events: %s is held", c.load.events.Load(), p.name)
			p.hold()
			// What it misses meanwhile is the point.
			time.Sleep(c.pause)
			p.release()
			c.paused++
		case 2, 3:
			c.t.Logf("after %d events: %s is killed, and again while it starts", c.load.events.Load(), p.name)
			p.kill()
			// At any moment of a start, which says nothing that one could wait for.
			time.Sleep(time.Duration(c.rand.Int64N(int64(time.Second))))
			p.kill()
			c.killed++
			c.early++
		default:
			c.t.Logf("after %d events: %s is killed", c.load.events.Load(), p.name)
			p.kill()
			c.killed++
		}
	}
	for _, p := range c.procs {
		p.alive()
	}
}
