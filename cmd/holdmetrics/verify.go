package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/processor/generation"
)

func newVerify() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "verify A B",
		Short: "Compare two generations, holder by holder",
		Long: `Verify compares two generations at the same position of the log, and prints every
figure of every holder that differs, with both values and the tokens that it comes
from. It ends with 1 where there is a difference. By other rules differences are
what one looks for.

What is known of the time behind the last event is compared too: holds that begin or
end later, the edges of a season, runs that become long enough, the steps of boosts.
Where only that differs the figure says in which token and from when on.

Everything goes on meanwhile; the generation that is not read stands still for
moments. Of one that ends at a position (--until) those holders are compared who
had no event since; the others are counted.`,
		Example: `  holdmetrics verify 1 2
  holdmetrics verify 1 2 --format csv`,
		Args: cobra.ExactArgs(2),
	}
	natsFlags(c)
	c.Flags().StringVar(&format, "format", "table", "table, csv or json")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkFormat(format); err != nil {
			return err
		}
		if args[0] == args[1] {
			return usage.Errorf("name two generations; a generation is like itself")
		}
		return withGenerations(c, func(ctx context.Context, o *operator) error {
			different, err := o.verify(ctx, c, args[0], args[1], format)
			if err == nil && different > 0 {
				err = fmt.Errorf("%s", counted(int64(different), "holder differs", "holders differ"))
			}
			return err
		})
	}
	return c
}

// verify compares two generations, prints what differs, and says how many holders do.
func (o *operator) verify(ctx context.Context, c *cobra.Command, a, b, format string) (uint64, error) {
	active, err := o.records.Active(ctx)
	if err != nil {
		return 0, err
	}
	ofA, err := o.get(ctx, a)
	if err != nil {
		return 0, err
	}
	ofB, err := o.get(ctx, b)
	if err != nil {
		return 0, err
	}
	for _, g := range []*generation.Record{&ofA, &ofB} {
		if g.Paused || g.Dropped {
			return 0, fmt.Errorf("generation %s is paused or being dropped, so nobody can be asked about it", g.Name)
		}
	}
	columns := []string{"partition", "holder_id", "position", "figure", "in_" + a, "in_" + b, "tokens"}
	rows, err := newRowWriter(c.OutOrStdout(), format, columns)
	if err != nil {
		return 0, err
	}
	// The one that may stand still is the second.
	swapped := b == active.Generation || ofA.Until != 0 && ofB.Until == 0
	if swapped {
		ofA, ofB = ofB, ofA
	}
	last := time.Now()
	comparison := generation.Comparison{
		Conn: o.js.Conn(), Partitions: o.log.Partitions(), End: o.log.End, A: ofA, B: ofB,
		Found: func(d *generation.Difference) error {
			write := func(figure, one, other string) error {
				if swapped {
					one, other = other, one
				}
				return rows.Write(strconv.Itoa(d.Partition), d.Holder, positionText(d.Position), figure, one, other, strings.Join(d.Tokens, " "))
			}
			switch d.Only {
			case ofA.Name:
				return write("holder", "there", "not there")
			case ofB.Name:
				return write("holder", "not there", "there")
			}
			for _, f := range d.Figures {
				if err := write(f[0], f[1], f[2]); err != nil {
					return err
				}
			}
			return nil
		},
		Moved: func(t generation.Tally) {
			if time.Since(last) >= lineEvery {
				last = time.Now()
				fmt.Fprintf(c.ErrOrStderr(), "compared %d holders, %d of %d partitions done, %d differ\n", t.Holders, t.Partitions, o.log.Partitions(), t.Different)
			}
		},
	}
	tally, err := comparison.Run(ctx)
	if rows.rows > 0 || format != "table" {
		if closed := rows.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		return tally.Different, err
	}
	text := fmt.Sprintf("%s compared, %s", counted(int64(tally.Holders), "holder", "holders"), counted(int64(tally.Different), "differs", "differ"))
	if tally.Beyond > 0 {
		text += fmt.Sprintf("; %s not compared, who had events behind the position at which a generation ends", counted(int64(tally.Beyond), "holder was", "holders were"))
	}
	if format == "table" {
		_, err = fmt.Fprintln(c.OutOrStdout(), text)
	} else {
		_, err = fmt.Fprintln(c.ErrOrStderr(), text)
	}
	return tally.Different, err
}
