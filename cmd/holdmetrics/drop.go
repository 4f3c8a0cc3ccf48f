package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/processor/generation"
)

func newDrop() *cobra.Command {
	var yes, noWait bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "drop NAME",
		Short: "Remove a generation: its store, its snapshots and its record",
		Long: `Drop has every process let go of a generation, and then removes what it kept. The
log is not touched: 'holdmetrics rebuild' makes one like it again. The active
generation cannot be dropped; the one that a rollback would go to needs --yes.

It is safe while workers run, and where it was cut short it is run again: until the
generation is gone it may be repeated. What a process keeps that does not run now
goes when it starts.`,
		Example: `  holdmetrics drop 2`,
		Args:    oneGeneration,
	}
	natsFlags(c)
	c.Flags().BoolVar(&yes, "yes", false, "also where it is the one that a rollback would go to")
	c.Flags().BoolVar(&noWait, "no-wait", false, "ask for it and return at once")
	c.Flags().DurationVar(&wait, "wait", defaultSwitchWait, "how long it may take")
	c.RunE = func(c *cobra.Command, args []string) error {
		return withGenerations(c, func(ctx context.Context, o *operator) error {
			if err := o.drop(ctx, args[0], yes); err != nil {
				return err
			}
			text := "generation %s is gone\n"
			if noWait {
				text = "generation %s is being dropped\n"
			} else if err := o.awaitGone(ctx, args[0], wait); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), text, args[0])
			return err
		})
	}
	return c
}

// drop marks a generation as one that is to go.
func (o *operator) drop(ctx context.Context, name string, yes bool) error {
	if _, err := o.get(ctx, name); err != nil {
		return err
	}
	return o.records.Change(ctx, name, func(g *generation.Record) error {
		active, err := o.records.Active(ctx)
		if err != nil {
			return err
		}
		prepare, err := o.records.Prepared(ctx)
		if err != nil {
			return err
		}
		switch {
		case active.Generation == name:
			return fmt.Errorf("generation %s is the active one; activate another one first", name)
		case prepare.Generation == name:
			return fmt.Errorf("generation %s is being activated; 'holdmetrics activate %s' ends that, and where the command was killed, half a minute does", name, active.Generation)
		case active.Previous == name && !yes:
			return fmt.Errorf("generation %s is where a rollback goes to; --yes drops it all the same", name)
		}
		g.Dropped = true
		return nil
	})
}

// awaitGone waits until nothing of a generation is left.
func (o *operator) awaitGone(ctx context.Context, name string, wait time.Duration) error {
	within, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		_, err := o.records.Get(within, name)
		if errors.Is(err, generation.ErrUnknown) {
			return nil
		}
		if err == nil {
			err = sleep(within, lookAgain/2)
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		who := "no process works on it; it goes when serve, or a worker, runs"
		if left, err := o.records.Progress(ctx, name); err == nil && len(left) > 0 {
			who = "these still have it:"
			for _, p := range left {
				who += " " + p.Worker
			}
		}
		return fmt.Errorf("generation %s is not gone after %s: %s", name, wait, who)
	}
}
