package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/processor/generation"
)

func newDrop() *cobra.Command {
	var yes, noWait bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "drop NAME",
		Short: "Remove a generation with its store and snapshots",
		Long: `Remove a generation: every process closes it, then its store, snapshots and record
are deleted. The log is not touched: 'holdmetrics rebuild' makes the same again. The
active generation cannot be dropped; the one that a rollback would go to needs --yes.

It is safe while workers run, and can be repeated until the generation is gone. A
process that does not run now removes its part when it starts.`,
		Example: `  holdmetrics drop 2`,
		Args:    oneGeneration,
	}
	connect.NATSFlags(c)
	c.Flags().BoolVar(&yes, "yes", false, "drop it even if a rollback would go to it")
	c.Flags().BoolVar(&noWait, "no-wait", false, "return at once")
	c.Flags().DurationVar(&wait, "wait", defaultSwitchWait, "how long it may take")
	c.RunE = func(c *cobra.Command, args []string) error {
		return withGenerations(c, func(ctx context.Context, o *generation.Operator) error {
			if err := o.Drop(ctx, args[0], yes); err != nil {
				return err
			}
			text := "generation %s is gone\n"
			if noWait {
				text = "generation %s is being dropped\n"
			} else if err := o.AwaitDropped(ctx, args[0], wait); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), text, args[0])
			return err
		})
	}
	return c
}
