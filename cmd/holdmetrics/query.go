package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// query is what score is asked for, without its window.
type query struct {
	set      *pflag.FlagSet
	asOfText string
	asOf     int64 // ns
	hasAsOf  bool
	byToken  bool
	format   string
}

func (q *query) flags(c *cobra.Command) {
	f := c.Flags()
	q.set = f
	f.StringVar(&q.asOfText, "as-of", "", "score as of this `time`: "+usage.TimeHelp+" (default: now)")
	f.BoolVar(&q.byToken, "by-token", false, "a row for each token of a holder")
	f.StringVar(&q.format, "format", "table", "table, csv or json")
}

func (q *query) check(now int64) (err error) {
	if err := printing.CheckFormat(q.format); err != nil {
		return err
	}
	if q.asOfText == "" && q.set.Changed("as-of") {
		return usage.Errorf("--as-of is empty; give %s", usage.TimeHelp)
	}
	q.asOf, q.hasAsOf, err = usage.ParseAsOf(q.asOfText, now)
	return err
}

// window is the time that a read of the server is about: as of an instant, or what was
// gained between two.
type window struct {
	asOf, from, to string
	projected      bool
}

func (w *window) flags(f *pflag.FlagSet) {
	f.StringVar(&w.asOf, "as-of", "", "as of this `time`: "+usage.TimeHelp+" (default: now)")
	f.StringVar(&w.from, "from", "", "only what counts from this `time` on")
	f.StringVar(&w.to, "to", "", "and before this `time`; another name for --as-of")
	f.BoolVar(&w.projected, "projected", false, "allow a time in the future: open holds stay as they are")
}

// stamps are the times in the order as of, from, to. The end of the time that is asked
// for is not set if it is now: the server decides when that is, since the clock of this
// machine may be ahead.
func (w *window) stamps(f *pflag.FlagSet, now int64) (stamps [3]hold.Stamp, err error) {
	for i, t := range []struct{ name, text string }{{"as-of", w.asOf}, {"from", w.from}, {"to", w.to}} {
		if t.text == "" && f.Changed(t.name) {
			return stamps, usage.Errorf("--%s is empty; give %s", t.name, usage.TimeHelp)
		}
		if t.text == "now" && t.name != "from" {
			continue
		}
		if stamps[i], err = usage.ParseStamp(t.name, t.text, now); err != nil {
			return stamps, err
		}
	}
	switch {
	case w.asOf != "" && w.to != "":
		return stamps, usage.Errorf("--to means the same as --as-of; give one of them")
	case w.from == "now" && !w.projected:
		return stamps, usage.Errorf("--from now begins a window in which nothing has happened yet; give --projected and a --to in the future")
	}
	return stamps, nil
}

// asOfNow reports whether figures are asked for as of now, and not without a time.
func (w *window) asOfNow() bool { return w.asOf == "now" || w.to == "now" }

// projectedNote says once that the rows of an answer are of a time in the future.
type projectedNote struct {
	out     io.Writer
	printed bool
}

func (n *projectedNote) row(projected bool) {
	if projected && !n.printed {
		n.printed = true
		fmt.Fprintln(n.out, projectedText)
	}
}

const projectedText = "holdmetrics: projected: the time asked for is in the future, and assumes that open holds stay open"

// checkDigits returns an error if --digits is out of range, or has no share to be of.
func checkDigits(f *pflag.FlagSet, digits int, share bool) error {
	switch {
	case digits < 0 || digits > 1000:
		return usage.Errorf("--digits %d is not between 0 and 1000", digits)
	case f.Changed("digits") && !share:
		return usage.Errorf("--digits is of --share; give that too")
	}
	return nil
}

// printRows calls the server and prints the rows of its answer as they come.
// unknown is what to say where it knows nothing of what was asked for. open gives
// what takes the rows; nothing is printed before the server has answered, not even
// a header, so it is called after that. done ends the printing.
func printRows[R any](
	ctx context.Context, server *connect.Server, unknown string,
	call func(context.Context, holdpb.HoldMetricsQueryClient) (grpc.ServerStreamingClient[R], error),
	open func() (write func(*R) error, done func() error, err error),
) error {
	conn, err := server.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := call(ctx, holdpb.NewHoldMetricsQueryClient(conn))
	if err != nil {
		return server.Error(err)
	}
	row, err := stream.Recv()
	if err != nil && err != io.EOF {
		if status.Code(err) == codes.NotFound {
			return fmt.Errorf("%s; ids are compared letter by letter", unknown)
		}
		return server.Error(err)
	}
	write, done, openErr := open()
	if openErr != nil {
		return openErr
	}
	for ; err == nil; row, err = stream.Recv() {
		if err := write(row); err != nil {
			return err
		}
	}
	if err != io.EOF {
		return server.Error(err)
	}
	return done()
}
