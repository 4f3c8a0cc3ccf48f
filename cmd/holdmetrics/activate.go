package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/processor/generation"
)

// defaultSwitchWait is how long each step of a switch may take.
const defaultSwitchWait = 2 * time.Minute

const switchHelp = `The generation must be built. The command waits until it has caught up with the log,
then asks every gateway to load it beside the one that it serves. When all have, all
switch. Each of these steps may take --wait; if one takes longer, the command names
what it waited for, and the active generation stays active.

If the command is killed, gateways release what they loaded half a minute later. Run
it again at any time, for this generation or another one.`

func newActivate() *cobra.Command {
	c := &cobra.Command{
		Use:     "activate NAME",
		Short:   "Move all readers to a generation",
		Long:    "Move all readers, watchers included, to another generation.\n\n" + switchHelp,
		Example: `  holdmetrics activate 2`,
		Args:    oneGeneration,
	}
	opts := switchFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return withGenerations(c, func(ctx context.Context, o *generation.Operator) error {
			return activate(ctx, c, o, args[0], *opts)
		})
	}
	return c
}

func newRollback() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollback",
		Short: "Roll back to the previous generation",
		Long:  "Activate the generation that was active before.\n\n" + switchHelp,
		Args:  cobra.NoArgs,
	}
	opts := switchFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return withGenerations(c, func(ctx context.Context, o *generation.Operator) error {
			previous, err := o.Previous(ctx)
			if err != nil {
				return err
			}
			return activate(ctx, c, o, previous, *opts)
		})
	}
	return c
}

func switchFlags(c *cobra.Command) *generation.SwitchOptions {
	connect.NATSFlags(c)
	opts := &generation.SwitchOptions{}
	c.Flags().DurationVar(&opts.Wait, "wait", defaultSwitchWait, "how long each step may take")
	c.Flags().BoolVar(&opts.WithoutGateways, "without-gateways", false, "go on if no gateway answers")
	return opts
}

// activate moves all readers to a generation.
func activate(ctx context.Context, c *cobra.Command, o *generation.Operator, name string, opts generation.SwitchOptions) error {
	from, err := o.Activate(ctx, name, opts)
	if err != nil || from == "" {
		return err
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "generation %s is active; 'holdmetrics rollback' goes back to %s\n", name, from)
	return err
}
