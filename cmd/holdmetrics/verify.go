package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/processor/generation"
)

func newVerify() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "verify A B",
		Short: "Compare two generations holder by holder",
		Long: `Compare two generations at the same position of the log, and print every figure that
differs, with both values and the tokens that it comes from. The exit code is 1 if
anything differs. Between different rules, differences are expected.

The future is compared too: holds that begin or end later, the edges of a season,
runs that become long enough, the steps of boosts. If only that differs, the figure
names the token and the instant.

Both generations go on meanwhile; the one that is not read is paused for moments. In
a generation that ends at a position (--until), only holders without a later event
are compared; the others are counted.`,
		Example: `  holdmetrics verify 1 2
  holdmetrics verify 1 2 --format csv`,
		Args: cobra.ExactArgs(2),
	}
	connect.NATSFlags(c)
	c.Flags().StringVar(&format, "format", "table", "table, csv or json")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := printing.CheckFormat(format); err != nil {
			return err
		}
		if args[0] == args[1] {
			return usage.Errorf("name two different generations")
		}
		return withGenerations(c, func(ctx context.Context, o *generation.Operator) error {
			different, err := verify(ctx, c, o, args[0], args[1], format)
			if err == nil && different > 0 {
				err = fmt.Errorf("%s", printing.Counted(int64(different), "holder differs", "holders differ"))
			}
			return err
		})
	}
	return c
}

// verify compares two generations, prints what differs, and returns how many holders do.
func verify(ctx context.Context, c *cobra.Command, o *generation.Operator, a, b, format string) (uint64, error) {
	rows, err := printing.NewRowWriter(c.OutOrStdout(), format, []string{"partition", "holder_id", "position", "figure", "in_" + a, "in_" + b, "tokens"})
	if err != nil {
		return 0, err
	}
	found := func(d *generation.Difference) error {
		figures := d.Figures
		switch d.Only {
		case a:
			figures = []generation.Figure{{Name: "holder", A: "there", B: "not there"}}
		case b:
			figures = []generation.Figure{{Name: "holder", A: "not there", B: "there"}}
		}
		for _, f := range figures {
			if err := rows.Write(strconv.Itoa(d.Partition), d.Holder, usage.PositionText(d.Position), f.Name, f.A, f.B, strings.Join(d.Tokens, " ")); err != nil {
				return err
			}
		}
		return nil
	}
	lines := newPace()
	tally, err := o.Compare(ctx, a, b, found, func(t generation.Tally) {
		if lines.due() {
			fmt.Fprintf(c.ErrOrStderr(), "compared %d holders, %d of %d partitions done, %d differ\n", t.Holders, t.Partitions, o.Log.Partitions(), t.Different)
		}
	})
	if rows.Rows > 0 || format != "table" {
		if closed := rows.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		return tally.Different, err
	}
	text := fmt.Sprintf("%s compared, %s", printing.Counted(int64(tally.Holders), "holder", "holders"), printing.Counted(int64(tally.Different), "differs", "differ"))
	if tally.Later > 0 {
		text += fmt.Sprintf("; %s not compared: their last event comes after the end of one generation", printing.Counted(int64(tally.Later), "holder was", "holders were"))
	}
	out := c.OutOrStdout()
	if format != "table" {
		out = c.ErrOrStderr()
	}
	_, err = fmt.Fprintln(out, text)
	return tally.Different, err
}
