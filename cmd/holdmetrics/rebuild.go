package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
)

// rebuildAsk holds the flags of rebuild.
type rebuildAsk struct {
	rules, name, until, resume string
	maxRate                    uint64
	verify, activate, noWait   bool
	wait, stall                time.Duration

	by *rules.Rules // of that file; nil: no file was named
}

func newRebuild() *cobra.Command {
	var q rebuildAsk
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Build a new generation from the log",
		Long: `Build a new generation of the projections beside the active one: serve, or the
workers, replay the log into it. The command waits until the generation has what the
log had; from then on new events flow into both.

Ctrl-C, or a kill of this command, ends the wait and not the build. A server that is
stopped carries on at its next start. --resume NAME waits again. If nothing moves for
--stall, the command ends and names the partition and what was last heard of it.

--rules counts by another rules file; the default is the rules of the active
generation. --until ends the generation at a position, or a time, of the log: it shows
what was known then. Such a generation stands still, so it cannot be activated.

--verify compares it with the active generation, holder by holder, at the same
position of the log, and prints each difference. By the same rules there must be
none: otherwise the exit code is 1 and nothing is activated. By different rules
differences are expected: they are printed, and --activate goes on.`,
		Example: `  holdmetrics rebuild --verify
  holdmetrics rebuild --rules rules.yaml --verify --activate
  holdmetrics rebuild --until 2026-01-01T00:00:00Z --name new-year
  holdmetrics rebuild --max-rate 50000 --no-wait
  holdmetrics rebuild --resume 2 --activate`,
		Args: cobra.NoArgs,
	}
	connect.NATSFlags(c)
	f := c.Flags()
	f.StringVar(&q.rules, "rules", "", "rules `file` (default: the rules of the active generation)")
	f.StringVar(&q.name, "name", "", "`name` of the generation (default: the next number)")
	f.StringVar(&q.until, "until", "", "end here, this included: "+usage.SpanHelp)
	f.Uint64Var(&q.maxRate, "max-rate", 0, "`events` a second, over all workers, while it is built (default: no limit)")
	f.BoolVar(&q.verify, "verify", false, "compare it with the active generation")
	f.BoolVar(&q.activate, "activate", false, "activate it when it is built, and verified if --verify is given")
	f.BoolVar(&q.noWait, "no-wait", false, "return at once")
	f.StringVar(&q.resume, "resume", "", "wait for the generation of this `name`, which was requested before")
	f.DurationVar(&q.wait, "wait", defaultSwitchWait, "how long each step of --activate may take")
	f.DurationVar(&q.stall, "stall", defaultStall, "give up when nothing has moved for this long")
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
		return withGenerations(c, func(ctx context.Context, o *generation.Operator) error { return rebuild(ctx, c, o, &q) })
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
	if _, ok := usage.PositionOf(q.until); q.until != "" && !ok {
		if _, err := usage.ParseStamp("until", q.until, 0); err != nil {
			return err
		}
	}
	return nil
}

// defaultStall is how long a build may stand still before the command gives up.
const defaultStall = 5 * time.Minute

func rebuild(ctx context.Context, c *cobra.Command, o *generation.Operator, q *rebuildAsk) error {
	name := q.resume
	if name == "" {
		g, err := request(ctx, o, q)
		if err != nil {
			return err
		}
		name = g.Name
		fmt.Fprintf(c.ErrOrStderr(), "generation %s: %s, up to position %d\n", name, g.Describe(), g.Goal)
	}
	if q.noWait {
		_, err := fmt.Fprintf(c.OutOrStdout(), "generation %s is being built; 'holdmetrics rebuild --resume %s' waits for it\n", name, name)
		return err
	}
	g, err := o.Get(ctx, name)
	if err != nil {
		return err
	}
	if q.activate && g.Until != 0 {
		return fmt.Errorf("generation %s ends at position %d, so it stands still and cannot be activated", name, g.Until)
	}
	if err := awaitBuilt(ctx, c, o, name, q.stall); err != nil {
		return err
	}
	if q.verify {
		active, err := o.ActiveRecord(ctx)
		if err != nil {
			return err
		}
		different, err := verify(ctx, c, o, active.Name, name, "table")
		if err != nil {
			return err
		}
		switch same := active.Version == g.Version && active.Policy == g.Policy; {
		case different > 0 && same:
			return fmt.Errorf("%s by the same rules; nothing was activated", printing.Counted(int64(different), "holder differs", "holders differ"))
		case different > 0:
			fmt.Fprintln(c.ErrOrStderr(), "the rules are others, so differences are expected")
		}
	}
	if q.activate {
		return activate(ctx, c, o, name, generation.SwitchOptions{Wait: q.wait})
	}
	return nil
}

// awaitBuilt waits until a generation is built, and shows how far it is.
func awaitBuilt(ctx context.Context, c *cobra.Command, o *generation.Operator, name string, stall time.Duration) error {
	began := time.Now()
	bar := newBuildBar(c.ErrOrStderr())
	notify := o.Notify
	o.Notify = func(text string) { bar.clear(); notify(text) }
	defer func() { o.Notify = notify }()
	_, build, err := o.AwaitBuilt(ctx, name, stall, bar.show)
	bar.clear()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted; generation %s goes on being built; 'holdmetrics rebuild --resume %s' waits for it, 'holdmetrics drop %s' gives it up", name, name, name)
	case errors.Is(err, generation.ErrDropped):
		return err
	case err != nil:
		return fmt.Errorf("%w; generation %s goes on being built where serve, or a worker, runs; 'holdmetrics rebuild --resume %s' waits for it", err, name, name)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "generation %s is built: %d events, %d rejected, %.1f s\n", name, build.Events, build.Rejected, time.Since(began).Seconds())
	return err
}

// request records the generation that the flags name.
func request(ctx context.Context, o *generation.Operator, q *rebuildAsk) (g generation.Record, err error) {
	r := generation.Request{Name: q.name, Rules: q.by, MaxRate: q.maxRate}
	if q.until != "" {
		if r.Until, err = untilOf(ctx, o.Log, q.until); err != nil {
			return g, err
		}
	}
	return o.Request(ctx, r, time.Now())
}

// untilOf returns the last position of the log that --until includes.
func untilOf(ctx context.Context, log *ingest.Log, text string) (uint64, error) {
	last, err := log.LastPosition(ctx)
	if err != nil {
		return 0, err
	}
	until, ok := usage.PositionOf(text)
	if !ok {
		at, err := usage.ParseStamp("until", text, usage.WallClock())
		if err != nil {
			return 0, err
		}
		if now := usage.WallClock(); at.Seconds*1e9+int64(at.Nanos) > now {
			return 0, fmt.Errorf("--until %s: that time has not come; the log ends at position %d", text, last)
		}
		first, err := log.PositionAt(ctx, at.Seconds*1e9+int64(at.Nanos)+1)
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

// buildBar shows how far a build is: a bar on a terminal, else a line now and then.
type buildBar struct {
	out   io.Writer
	bar   *progressbar.ProgressBar
	began time.Time
	first *generation.Build
	lines *pace
}

func newBuildBar(out io.Writer) *buildBar {
	b := &buildBar{out: out, began: time.Now(), lines: newPace()}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.bar = progressbar.NewOptions64(1000, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("building"),
			progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	}
	return b
}

func (b *buildBar) show(now *generation.Build) {
	if b.first == nil {
		first := *now
		b.first, b.began = &first, time.Now()
	}
	took := time.Since(b.began).Seconds()
	text := fmt.Sprintf("%d events", now.Events)
	if took > 1 && now.Events >= b.first.Events {
		text += fmt.Sprintf(", %.0f/s", float64(now.Events-b.first.Events)/took)
	}
	if left := b.left(now, took); left != "" {
		text += ", " + left + " left"
	}
	if b.bar != nil {
		b.bar.Describe(text)
		_ = b.bar.Set64(int64(1000 * now.Share())) // a bar that cannot be drawn stops nothing
		return
	}
	if b.lines.due() {
		fmt.Fprintf(b.out, "%d %%, %s\n", now.Percent(), text)
	}
}

// left is how long it takes from now on, if it goes on as so far; empty: not known.
func (b *buildBar) left(now *generation.Build, took float64) string {
	moved, left := float64(now.Through())-float64(b.first.Through()), float64(now.Goal)-float64(now.Through())
	if took <= 1 || moved <= 0 || left < 0 || now.Goal == 0 {
		return ""
	}
	return time.Duration(left / moved * took * float64(time.Second)).Round(time.Second).String()
}

func (b *buildBar) clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

const (
	// lineFirst is after how long a command shows its progress, and lineEvery how often
	// it does so from then on.
	lineFirst = 2 * time.Second
	lineEvery = 10 * time.Second
)

// pace decides when a command prints a line of its progress.
type pace struct{ next time.Time }

func newPace() *pace { return &pace{time.Now().Add(lineFirst)} }

// due reports whether a line is due now.
func (p *pace) due() bool {
	now := time.Now()
	if now.Before(p.next) {
		return false
	}
	p.next = now.Add(lineEvery)
	return true
}
