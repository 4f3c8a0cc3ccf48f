package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold/rules"
	"holdmetrics/processor/generation"
)

// rebuildAsk is what the flags of rebuild say.
type rebuildAsk struct {
	rules, name, until, resume string
	maxRate                    uint64
	verify, activate, noWait   bool
	wait                       time.Duration

	by *rules.Rules // of that file; nil: none was named
}

func newRebuild() *cobra.Command {
	var q rebuildAsk
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Make a new generation of the projections from the log",
		Long: `Rebuild has serve, or the workers, replay the log into a new generation beside the
one that is read, and waits until it has what the log had. From then on new events
flow into both. Ctrl-C stops the waiting, not the building; so does a kill of this
command or of a server, which carries on at its next start. Running the command
again with --resume NAME waits again.

--rules has it count by another rules file; without, by the rules in force. --until
ends it at a position, or a time, of the log: what was known then. Such a one stands
still, so it cannot be activated.

--verify compares it with the active generation, holder by holder, at the same
position of the log, and prints each difference. By the same rules there must be
none: with one, the command ends with 1 and nothing is activated. By other rules
differences are what was asked for: they are printed, and --activate goes on.`,
		Example: `  holdmetrics rebuild --verify
  holdmetrics rebuild --rules rules.yaml --verify --activate
  holdmetrics rebuild --until 2026-01-01T00:00:00Z --name new-year
  holdmetrics rebuild --max-rate 50000 --no-wait
  holdmetrics rebuild --resume 2 --activate`,
		Args: cobra.NoArgs,
	}
	natsFlags(c)
	f := c.Flags()
	f.StringVar(&q.rules, "rules", "", "rules `file` by which it counts (default: the rules of the active generation)")
	f.StringVar(&q.name, "name", "", "`name` of the generation (default: the next number)")
	f.StringVar(&q.until, "until", "", "end here, this included: "+spanHelp)
	f.Uint64Var(&q.maxRate, "max-rate", 0, "`events` a second, over all workers, while it is built (default: no bound)")
	f.BoolVar(&q.verify, "verify", false, "compare it with the active generation")
	f.BoolVar(&q.activate, "activate", false, "activate it when it is built, and verified where that was asked for")
	f.BoolVar(&q.noWait, "no-wait", false, "ask for it and return at once")
	f.StringVar(&q.resume, "resume", "", "wait for the generation of this `name`, which was asked for before")
	f.DurationVar(&q.wait, "wait", defaultSwitchWait, "how long the gateways may take to switch")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := q.check(); err != nil {
			return err
		}
		if q.rules == "" && f.Changed("rules") {
			return usage.Errorf("--rules is empty; name a rules file, or leave it out for the rules that are in force")
		}
		if q.rules != "" { // before anybody is asked for anything
			var err error
			if q.by, err = openRules(c, q.rules); err != nil {
				return err
			}
		}
		return withGenerations(c, func(ctx context.Context, o *operator) error { return o.rebuild(ctx, c, &q) })
	}
	return c
}

func (q *rebuildAsk) check() error {
	switch {
	case q.activate && q.until != "":
		return usage.Errorf("--activate and --until: a generation that ends at a position stands still, so it cannot be the one that is read")
	case q.noWait && (q.verify || q.activate):
		return usage.Errorf("--no-wait does not go with --verify or --activate, which come when it is built")
	case q.resume != "" && (q.rules != "" || q.until != "" || q.name != "" || q.maxRate != 0):
		return usage.Errorf("--resume names a generation that was asked for before; leave out --rules, --until, --name and --max-rate")
	}
	if q.name != "" {
		if err := generation.CheckName(q.name); err != nil {
			return usage.Errorf("--name: %w", err)
		}
	}
	if _, ok := positionOf(q.until); q.until != "" && !ok {
		if _, err := parseStamp("until", q.until, 0); err != nil {
			return err
		}
	}
	return nil
}

func (o *operator) rebuild(ctx context.Context, c *cobra.Command, q *rebuildAsk) error {
	name := q.resume
	if name == "" {
		g, err := o.ask(ctx, q)
		if err != nil {
			return err
		}
		name = g.Name
		fmt.Fprintf(c.ErrOrStderr(), "generation %s: %s, up to position %d\n", name, counts(&g), g.Goal)
	}
	if q.noWait {
		_, err := fmt.Fprintf(c.OutOrStdout(), "generation %s is being built; 'holdmetrics rebuild --resume %s' waits for it\n", name, name)
		return err
	}
	g, err := o.get(ctx, name)
	if err != nil {
		return err
	}
	if q.activate && g.Until != 0 {
		return fmt.Errorf("generation %s ends at position %d, so it stands still and cannot be activated", name, g.Until)
	}
	began := time.Now()
	done, err := o.awaitBuilt(ctx, c.ErrOrStderr(), &g)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; generation %s goes on being built; 'holdmetrics rebuild --resume %s' waits for it, 'holdmetrics drop %s' gives it up", name, name, name)
	}
	if err != nil && !errors.Is(err, errDropped) {
		return fmt.Errorf("%w; generation %s goes on being built where serve, or a worker, runs; 'holdmetrics rebuild --resume %s' waits for it", err, name, name)
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.OutOrStdout(), "generation %s is built: %d events, %d rejected, %.1f s\n", name, done.events, done.rejected, time.Since(began).Seconds()); err != nil {
		return err
	}
	if q.verify {
		active, err := o.activeRecord(ctx)
		if err != nil {
			return err
		}
		different, err := o.verify(ctx, c, active.Name, name, "table")
		if err != nil {
			return err
		}
		switch same := active.Version == g.Version && active.Policy == g.Policy; {
		case different > 0 && same:
			return fmt.Errorf("%s by the same rules; nothing was activated", counted(int64(different), "holder differs", "holders differ"))
		case different > 0:
			fmt.Fprintln(c.ErrOrStderr(), "the rules are others, so differences are expected")
		}
	}
	if q.activate {
		return o.activate(ctx, c, name, q.wait, false)
	}
	return nil
}

// ask records the generation that the flags ask for. One of that name that was
// asked for just so is the same one, so that a command that was killed is repeated.
func (o *operator) ask(ctx context.Context, q *rebuildAsk) (g generation.Record, err error) {
	active, err := o.activeRecord(ctx)
	if err != nil {
		return g, err
	}
	last, err := o.log.LastPosition(ctx)
	if err != nil {
		return g, err
	}
	g = generation.Record{Name: q.name, Rules: active.Rules, Version: active.Version, Policy: active.Policy, Goal: last, Created: time.Now().UTC(), MaxRate: q.maxRate}
	if r := q.by; r != nil {
		g.Rules, g.Version, g.Policy = r.Text(), r.Version(), r.DefaultPolicy().String()
	}
	if q.until != "" {
		if g.Until, err = o.untilOf(ctx, q.until, last); err != nil {
			return g, err
		}
		g.Goal = g.Until
	}
	if g.Name == "" {
		if g.Name, err = o.records.NextName(ctx); err != nil {
			return g, err
		}
	}
	err = o.records.Create(ctx, g)
	if !errors.Is(err, generation.ErrExists) {
		return g, err
	}
	have, err := o.get(ctx, g.Name)
	if err != nil {
		return g, err
	}
	if have.Version != g.Version || have.Policy != g.Policy || have.Until != g.Until || have.Dropped {
		return g, fmt.Errorf("there is a generation %s, which is another one (%s); choose another --name", g.Name, counts(&have))
	}
	return have, nil
}

// untilOf is the last position that --until lets in.
func (o *operator) untilOf(ctx context.Context, text string, last uint64) (uint64, error) {
	until, ok := positionOf(text)
	if !ok {
		at, err := parseStamp("until", text, wallClock())
		if err != nil {
			return 0, err
		}
		if now := wallClock(); at.Seconds*1e9+int64(at.Nanos) > now {
			return 0, fmt.Errorf("--until %s: that time has not come; the log ends at position %d", text, last)
		}
		first, err := o.log.PositionAt(ctx, at.Seconds*1e9+int64(at.Nanos)+1)
		if err != nil {
			return 0, err
		}
		until = first - 1
	}
	switch {
	case until > last:
		return 0, fmt.Errorf("--until %s: the log ends at position %d", text, last)
	case until == 0:
		return 0, fmt.Errorf("--until %s: the log has nothing up to there", text)
	}
	return until, nil
}

func (o *operator) activeRecord(ctx context.Context) (generation.Record, error) {
	active, err := o.records.Active(ctx)
	if err != nil {
		return generation.Record{}, err
	}
	return o.get(ctx, active.Generation)
}

// errDropped: somebody gave up what is waited for.
var errDropped = errors.New("was dropped")

// silentFor is how long nobody may work on what is to be built before that is said.
const silentFor = 20 * time.Second

// awaitBuilt waits until a generation is built, and shows how far it is.
func (o *operator) awaitBuilt(ctx context.Context, out io.Writer, g *generation.Record) (done building, err error) {
	watching, stop := context.WithCancel(ctx)
	changed := o.records.WatchAll(watching)
	defer func() {
		stop()
		for range changed {
		}
	}()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	bar := newBuildBar(out)
	defer bar.clear()
	heard := time.Now()
	for {
		if *g, err = o.get(ctx, g.Name); err != nil {
			return done, err
		}
		if done, err = o.built(ctx, g); err != nil {
			return done, err
		}
		switch {
		case g.Dropped:
			return done, fmt.Errorf("generation %s %w", g.Name, errDropped)
		case g.Built:
			return done, nil
		case done.partitions > 0:
			heard = time.Now()
		case time.Since(heard) > silentFor:
			bar.say(fmt.Sprintf("nobody works on generation %s yet; does serve, or a worker of this version, run, and does it reach its database?", g.Name))
			heard = time.Now()
		}
		if done.trouble != "" {
			bar.say(strings.ReplaceAll(done.trouble, "\n", "; "))
		}
		bar.show(&done)
		select {
		case <-ctx.Done():
			return done, ctx.Err()
		case <-changed:
		case <-ticker.C:
		}
	}
}

// buildBar shows how far a build is: a bar on a terminal, else a line now and then.
type buildBar struct {
	out   io.Writer
	bar   *progressbar.ProgressBar
	began time.Time
	first *building
	last  time.Time // of the last line
	said  string
}

const lineEvery = 10 * time.Second

func newBuildBar(out io.Writer) *buildBar {
	b := &buildBar{out: out, began: time.Now(), last: time.Now()}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.bar = progressbar.NewOptions64(1000, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("building"),
			progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	}
	return b
}

func (b *buildBar) show(now *building) {
	if b.first == nil {
		first := *now
		b.first, b.began = &first, time.Now()
	}
	took := time.Since(b.began).Seconds()
	text := fmt.Sprintf("%d events", now.events)
	if took > 1 && now.events >= b.first.events {
		text += fmt.Sprintf(", %.0f/s", float64(now.events-b.first.events)/took)
	}
	if left := b.left(now, took); left != "" {
		text += ", " + left + " left"
	}
	if b.bar != nil {
		b.bar.Describe(text)
		_ = b.bar.Set64(int64(1000 * now.share())) // a bar that cannot be drawn stops nothing
		return
	}
	if time.Since(b.last) >= lineEvery {
		b.last = time.Now()
		fmt.Fprintf(b.out, "%d %%, %s\n", now.percent(), text)
	}
}

// left is how long it takes from now on, if it goes on as so far; empty: not known.
func (b *buildBar) left(now *building, took float64) string {
	moved, left := float64(now.through())-float64(b.first.through()), float64(now.goal)-float64(now.through())
	if took <= 1 || moved <= 0 || left < 0 || now.goal == 0 {
		return ""
	}
	return time.Duration(left / moved * took * float64(time.Second)).Round(time.Second).String()
}

// say tells something once.
func (b *buildBar) say(text string) {
	if text != b.said {
		b.clear()
		b.said = text
		fmt.Fprintln(b.out, text)
	}
}

func (b *buildBar) clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
