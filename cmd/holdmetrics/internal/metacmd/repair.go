// Package metacmd has the command that repairs the records of the generations.
package metacmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/processor/generation"
)

// NewRepair returns the command generations repair.
func NewRepair() *cobra.Command {
	c := &cobra.Command{
		Use:   "repair",
		Short: "Put right records that cannot be read",
		Long: `Repair looks at the records of the generations, and at which one is read. A value
that cannot be read was written by somebody else, or by another version.

serve puts right what it has read before by itself. What it cannot know at a start is
named, and it waits: run this command meanwhile. If several generations may be the
one that is read, --active names it. A damaged record of another generation is
removed with --remove; build that generation again then.`,
		Example: `  holdmetrics generations repair
  holdmetrics generations repair --active 2
  holdmetrics generations repair --remove 3`,
		Args: cobra.NoArgs,
	}
	active := c.Flags().String("active", "", "`generation` that is read")
	remove := c.Flags().String("remove", "", "`generation` whose record is removed")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *active != "" && *remove != "" {
			return usage.Errorf("give --active or --remove, one at a time")
		}
		return connect.WithNATS(c, func(ctx context.Context, js jetstream.JetStream) error {
			r, err := generation.Find(ctx, js)
			if err != nil {
				return err
			}
			switch {
			case *active != "":
				err = r.Reactivate(ctx, *active)
			case *remove != "":
				err = r.RemoveDamaged(ctx, *remove)
			}
			if err != nil {
				return err
			}
			mended, err := r.Mend(ctx)
			for _, key := range mended {
				if _, failed := fmt.Fprintf(c.OutOrStdout(), "put right: %s\n", key); failed != nil {
					return errors.Join(err, failed)
				}
			}
			if err == nil {
				_, err = fmt.Fprintln(c.OutOrStdout(), "all records can be read")
			}
			return err
		})
	}
	return c
}
