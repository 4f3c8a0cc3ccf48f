package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/processor/generation"
)

const (
	// defaultSwitchWait is how long gateways may take to load a generation.
	defaultSwitchWait = 2 * time.Minute
	// doorsWithin is how long a gateway may take to be heard of.
	doorsWithin = 5 * time.Second
	// askedFor is how long gateways hold what an activate had them load, where it was
	// killed and cannot take that back, and askAgain how often it says it meanwhile.
	askedFor = 30 * time.Second
	askAgain = time.Second
	// lookAgain is how often the switch is looked at where nothing tells of a change.
	lookAgain = 500 * time.Millisecond
)

const switchHelp = `The generation must be built, and as far as the log. Every gateway is asked to load
it beside the one that it serves; when all have, all switch. Where one does not in
time (--wait) nothing is changed, and the command says which.

Where the command is killed, gateways let go of what they loaded half a minute later;
run it again, for this generation or another one, at once or then.`

func newActivate() *cobra.Command {
	c := &cobra.Command{
		Use:     "activate NAME",
		Short:   "Have all readers read a generation",
		Long:    "Activate moves all readers, watchers included, to another generation.\n" + switchHelp,
		Example: `  holdmetrics activate 2`,
		Args:    oneGeneration,
	}
	wait, without := switchFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return withGenerations(c, func(ctx context.Context, o *operator) error {
			return o.activate(ctx, c, args[0], *wait, *without)
		})
	}
	return c
}

func newRollback() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollback",
		Short: "Have all readers read the generation before the active one again",
		Long:  "Rollback activates the generation that was active before.\n" + switchHelp,
		Args:  cobra.NoArgs,
	}
	wait, without := switchFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return withGenerations(c, func(ctx context.Context, o *operator) error {
			active, err := o.records.Active(ctx)
			if err != nil {
				return err
			}
			if active.Previous == "" {
				return fmt.Errorf("generation %s is the first that was active; there is nothing to go back to", active.Generation)
			}
			return o.activate(ctx, c, active.Previous, *wait, *without)
		})
	}
	return c
}

func switchFlags(c *cobra.Command) (wait *time.Duration, without *bool) {
	natsFlags(c)
	wait = c.Flags().Duration("wait", defaultSwitchWait, "how long the gateways may take to load it")
	without = c.Flags().Bool("without-gateways", false, "go on where no gateway answers: there is none that could read")
	return wait, without
}

// activate has all doors read a generation.
func (o *operator) activate(ctx context.Context, c *cobra.Command, name string, wait time.Duration, without bool) (err error) {
	g, err := o.get(ctx, name)
	if err != nil {
		return err
	}
	active, err := o.records.Active(ctx)
	if err != nil {
		return err
	}
	switch {
	case g.Dropped:
		return fmt.Errorf("generation %s is being dropped", name)
	case g.Until != 0:
		return fmt.Errorf("generation %s ends at position %d, so it stands still and cannot be activated", name, g.Until)
	case g.Paused:
		return fmt.Errorf("generation %s is paused, so it stands still", name)
	case !g.Built:
		return fmt.Errorf("generation %s is not built yet; 'holdmetrics rebuild --resume %s --activate' waits for it", name, name)
	case active.Generation == name:
		if err := o.records.Prepare(ctx, ""); err != nil {
			return err
		}
		return o.awaitDoors(ctx, c, wait, "serve", func(d *generation.Door) bool { return d.Active == name }, name, nil, o.stillActive(name))
	}
	within, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := o.awaitCaughtUp(within, c, name); err != nil {
		return late(ctx, err, fmt.Sprintf("generation %s does not come up with the log within %s; generation %s stays active", name, wait, active.Generation))
	}
	if !without {
		if err := o.awaitSomeDoor(ctx); err != nil {
			return err
		}
	}
	asked, err := o.records.Ask(ctx, name, askedFor)
	if err != nil {
		return err
	}
	asking, stopAsking := keepAsking(ctx, asked, askAgain)
	defer func() { // whatever came of it, nobody need hold it beside the other any more
		_ = stopAsking()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), startRequest)
		defer cancel()
		if ended := asked.End(ending); err == nil {
			err = ended
		}
	}()
	letters := func(ctx context.Context) error { return o.awaitLetters(ctx, name) }
	err = o.awaitDoors(asking, c, wait, "load", func(d *generation.Door) bool { return d.Prepared == name || d.Active == name }, name, letters, o.stillActive(active.Generation))
	if overtaken := stopAsking(); overtaken != nil {
		err = fmt.Errorf("%w: %w", errOvertaken, overtaken)
	}
	if errors.Is(err, errOvertaken) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w; generation %s stays active", err, active.Generation)
	}
	last, err := o.log.LastPosition(ctx)
	if err != nil {
		return err
	}
	if err := o.records.Activate(ctx, active.Generation, name, last, time.Now().UTC()); errors.Is(err, generation.ErrChanged) {
		return fmt.Errorf("%w: %w", errOvertaken, err)
	} else if err != nil {
		return err
	}
	err = o.awaitDoors(ctx, c, wait, "switch to", func(d *generation.Door) bool { return d.Active == name }, name, nil, o.stillActive(name))
	if errors.Is(err, errOvertaken) {
		return fmt.Errorf("generation %s was activated, but then %w", name, err)
	}
	if err != nil {
		return fmt.Errorf("generation %s is active, but %w", name, err)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "generation %s is active; 'holdmetrics rollback' goes back to %s\n", name, active.Generation)
	return err
}

// keepAsking has a generation prepared for as long as that takes. The context ends with
// stop, and where somebody else has another one prepared, which stop then says.
func keepAsking(ctx context.Context, asked *generation.Asked, every time.Duration) (asking context.Context, stop func() error) {
	asking, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	var overtaken error
	go func() {
		defer close(ended)
		for sleep(asking, every) == nil {
			within, done := context.WithTimeout(asking, askedFor)
			err := asked.Again(within)
			done()
			if errors.Is(err, generation.ErrChanged) {
				overtaken = err
				cancel()
			}
			// Another error is the broker's; there is time to say it once more.
		}
	}()
	return asking, func() error {
		cancel()
		<-ended
		return overtaken
	}
}

// errOvertaken: somebody else switches meanwhile, or has.
var errOvertaken = errors.New("another switch overtook this one")

// stillActive says whether a generation is still the one that is read.
func (o *operator) stillActive(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		active, err := o.records.Active(ctx)
		if err == nil && active.Generation != name {
			err = fmt.Errorf("%w: generation %s is active now", errOvertaken, active.Generation)
		}
		return err
	}
}

// late puts what timed out into words.
func late(ctx context.Context, err error, text string) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return errors.New(text)
	}
	return err
}

// awaitCaughtUp waits until a generation's snapshots have what the log has now.
func (o *operator) awaitCaughtUp(ctx context.Context, c *cobra.Command, name string) error {
	ends := make([]uint64, o.log.Partitions())
	for p := range ends {
		var err error
		if ends[p], err = o.log.End(ctx, p); err != nil {
			return err
		}
	}
	said := false
	for {
		at, err := o.positions(ctx, name)
		if err != nil {
			return err
		}
		behind := 0
		for p := range ends {
			if at == nil || at[p] < ends[p] {
				behind++
			}
		}
		if behind == 0 {
			return nil
		}
		if !said {
			said = true
			fmt.Fprintf(c.ErrOrStderr(), "waiting until generation %s has what the log has: %s behind\n", name, counted(int64(behind), "partition is", "partitions are"))
		}
		if err := sleep(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// awaitSomeDoor waits a moment until a gateway is heard of.
func (o *operator) awaitSomeDoor(ctx context.Context) error {
	for began := time.Now(); ; {
		doors, err := o.records.Doors(ctx)
		if err != nil || len(doors) > 0 {
			return err
		}
		if time.Since(began) > doorsWithin {
			return errors.New("no gateway answers, neither serve's nor another one's, so nobody would notice; start one of this version, or say --without-gateways where there is none")
		}
		if err := sleep(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// awaitLetters waits until every worker of a generation writes its dead letters, so
// that none is missing after the switch.
func (o *operator) awaitLetters(ctx context.Context, name string) error {
	for {
		all, err := o.records.Progress(ctx, name)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(p generation.Progress) bool { return len(p.Partitions) > 0 && !p.Letters }) && len(all) > 0 {
			return nil
		}
		if err := sleep(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// awaitDoors waits until all gateways are where they are to be, while still has
// nothing against it. It says whom it waits for.
func (o *operator) awaitDoors(ctx context.Context, c *cobra.Command, wait time.Duration, doing string, there func(*generation.Door) bool, name string, also, still func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var awaited []string
	said := ""
	began := time.Now()
	for {
		doors, err := o.records.Doors(within)
		if err == nil {
			awaited = awaited[:0]
			for i := range doors {
				if !there(&doors[i]) {
					text := doors[i].ID
					if doors[i].Trouble != "" {
						text += " (" + doors[i].Trouble + ")"
					}
					awaited = append(awaited, text)
				}
			}
			if len(awaited) == 0 {
				if also == nil {
					return nil
				}
				if err = also(within); err == nil {
					return nil
				}
			}
		}
		if err == nil {
			err = still(within)
		}
		if err != nil && within.Err() == nil {
			return err
		}
		if text := strings.Join(awaited, ", "); text != said && text != "" && time.Since(began) > time.Second {
			said = text
			fmt.Fprintf(c.ErrOrStderr(), "waiting for gateways to %s generation %s: %s\n", doing, name, text)
		}
		if err := sleep(within, lookAgain); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			who := "the workers do not write its dead letters"
			if len(awaited) > 0 {
				who = "these gateways did not " + doing + " generation " + name + ": " + strings.Join(awaited, ", ")
			}
			return fmt.Errorf("after %s %s", wait, who)
		}
	}
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
