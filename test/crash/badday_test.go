package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"holdmetrics/internal/testwait"
)

var (
	badDays = flag.Int("days", 0, "how many bad days TestBadDays has, with the seeds from -seed on; 0: one of each quick kind")
	badKind = flag.String("kind", "", "of bad days: the name of one kind; empty: each seed draws its own")
	badWays = flag.Int("beside", 2, "how many bad days go on beside each other")
)

// A bad day damages what a server has on its disk, or takes from it what it runs on, while
// a producer records and a reader reads. At its end the figures are those of the
// acknowledged events, or the server says that it cannot vouch for them.

// outcome is how a bad day ended.
type outcome int

const (
	right  outcome = iota // the figures are those of the acknowledged events
	honest                // the server refuses, or is not ready, and names the reason
	wrong                 // neither
)

func (o outcome) String() string { return [...]string{"right", "honest", "wrong"}[o] }

// TestBadDays has some bad days, and wants each to end right or honest. What heals by
// itself has to end right. The seed of a day draws what happens; its directory is kept
// if it ended wrong.
func TestBadDays(t *testing.T) {
	t.Parallel()
	testwait.Allow(t, testwait.Longest+time.Duration(*badDays)*time.Minute)
	kinds := dayKinds()
	var drawn []*day
	for i := range *badDays {
		drawn = append(drawn, newDay(t, *seed+uint64(i), kinds))
	}
	if *badDays == 0 {
		for _, k := range kinds {
			if k.quick {
				drawn = append(drawn, newDay(t, *seed, []*dayKind{k}))
			}
		}
	}
	summary := &daySummary{kinds: map[string]*[3]int{}, reasons: map[string]int{}}
	next := make(chan *day)
	var days sync.WaitGroup
	for range *badWays {
		days.Go(func() {
			for d := range next {
				end, why := d.live()
				summary.add(d, end, why)
			}
		})
	}
	for _, d := range drawn {
		next <- d
	}
	close(next)
	days.Wait()
	t.Logf("%d bad days\n%s", len(drawn), summary)
}

// daySummary counts how days ended.
type daySummary struct {
	mu      sync.Mutex
	kinds   map[string]*[3]int
	reasons map[string]int // of honest ones, without numbers
}

func (s *daySummary) add(d *day, end outcome, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := d.kind.name
	if s.kinds[name] == nil {
		s.kinds[name] = new([3]int)
	}
	s.kinds[name][end]++
	switch end {
	case honest:
		s.reasons[name+": "+withoutNumbers(why)]++
		d.t.Logf("seed %d, %s: honest after %s: %s", d.seed, name, ms(time.Since(d.began)), why)
	case right:
		d.t.Logf("seed %d, %s: right after %s, %d events", d.seed, name, ms(time.Since(d.began)), len(d.load.acked))
	}
}

// String returns a table, and the reasons of the honest days.
func (s *daySummary) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "kind\truns\thonest\tright\twrong")
	var all [3]int
	names := make([]string, 0, len(s.kinds))
	for name := range s.kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n := s.kinds[name]
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\n", name, n[right]+n[honest]+n[wrong], n[honest], n[right], n[wrong])
		for i := range all {
			all[i] += n[i]
		}
	}
	fmt.Fprintf(table, "all\t%d\t%d\t%d\t%d\n", all[right]+all[honest]+all[wrong], all[honest], all[right], all[wrong])
	_ = table.Flush()
	reasons := make([]string, 0, len(s.reasons))
	for reason := range s.reasons {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		fmt.Fprintf(&b, "%4d %s\n", s.reasons[reason], reason)
	}
	return b.String()
}

// withoutNumbers makes reasons that differ in numbers alone equal.
func withoutNumbers(text string) string {
	var b strings.Builder
	digits := false
	for _, r := range text {
		if r >= '0' && r <= '9' {
			if !digits {
				b.WriteByte('N')
			}
			digits = true
			continue
		}
		digits = false
		b.WriteRune(r)
	}
	return b.String()
}

// day is one bad day.
type day struct {
	t     *testing.T
	seed  uint64
	rand  *rand.Rand
	kind  *dayKind
	began time.Time

	root string // of all that it has on disk
	data string // the server's data directory
	srv  *daySubject
	load *dayLoad
	eyes *dayReader

	mu    sync.Mutex
	story []string // what was done
	undo  []func()
}

func newDay(t *testing.T, seed uint64, kinds []*dayKind) *day {
	d := &day{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 1<<40))}
	d.kind = drawKind(d.rand, kinds)
	return d
}

// live has the day from its morning to its end.
func (d *day) live() (end outcome, why string) {
	d.began = time.Now()
	root, err := os.MkdirTemp("", fmt.Sprintf("holdmetrics-day-%d-", d.seed))
	if err != nil {
		d.t.Error(err)
		return wrong, err.Error()
	}
	d.root, d.data = root, filepath.Join(root, "data")
	defer func() {
		d.srv.end()
		for _, f := range slices.Backward(d.undo) {
			f()
		}
		if end != wrong {
			_ = os.RemoveAll(root)
			return
		}
		text := fmt.Sprintf("seed %d, %s: %s\nwhat was done:\n  %s\nwhat the server said:\n%s",
			d.seed, d.kind.name, why, strings.Join(d.story, "\n  "), abridged(d.srv.log.String(), 10_000))
		_ = os.WriteFile(filepath.Join(root, "story.txt"), []byte(text), 0o600)
		d.t.Errorf("%s\n%s is kept", text, root)
	}()
	d.srv = newDaySubject(d.t, d.data)
	if err := d.kind.prepare(d); err != nil {
		return wrong, err.Error()
	}
	d.load = newDayLoad(d)
	d.eyes = newDayReader(d)
	defer func() {
		d.load.stop()
		d.eyes.stop()
	}()
	if end, why := d.spend(); end != right {
		return end, why
	}
	if text := d.eyes.complaint(); text != "" {
		return wrong, text
	}
	return right, ""
}

// spend starts the server, has events recorded, does the damage, and judges. What
// follows a day that ended right is drawn, too: a restart, or a store that is made again.
func (d *day) spend() (end outcome, why string) {
	if err := d.srv.start(); err != nil {
		return wrong, "the first start: " + err.Error()
	}
	if err := d.load.more(d.between(50, 400)); err != nil {
		return wrong, "before anything was done: " + err.Error()
	}
	if d.kind.quiet {
		if end, why := d.judge(); end != right {
			return wrong, "before anything was done: " + why
		}
	}
	if err := d.kind.do(d); err != nil {
		return wrong, err.Error()
	}
	if end, why = d.judge(); end != right {
		return d.fair(end, why)
	}
	after := dayEvenings[d.rand.IntN(len(dayEvenings))]
	d.tell("evening: %s", after.name)
	if end, why, ok := after.do(d); ok {
		return d.fair(end, why)
	}
	return d.fair(d.judge())
}

// fair returns how the day ended: what heals by itself has to end right.
func (d *day) fair(end outcome, why string) (outcome, string) {
	if end == honest && d.kind.heals {
		return wrong, "it has not recovered: " + why
	}
	return end, why
}

// tell notes what was done.
func (d *day) tell(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.story = append(d.story, fmt.Sprintf("%8s %s", ms(time.Since(d.began)), fmt.Sprintf(format, args...)))
}

// between draws a number from from to below.
func (d *day) between(from, below int) int { return from + d.rand.IntN(below-from) }

// moment draws a duration below most.
func (d *day) moment(most time.Duration) time.Duration {
	return time.Duration(d.rand.Int64N(int64(most)))
}
