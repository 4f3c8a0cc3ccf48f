package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
	holdpb "holdmetrics/proto"
)

func newRecord() *cobra.Command {
	var d hold.Draft
	var start, end string
	var stop bool
	c := &cobra.Command{
		Use:   "record",
		Short: "Send one hold event to the server",
		Long: `Record sends one event: a hold (a start, and an end or none), a stop (--stop: an
end alone), or with --retract the withdrawal of either.`,
		Example: `  holdmetrics record --token GOLD --holder alice --start 2026-01-01T00:00:00Z --weight 12.5
  holdmetrics record --token GOLD --holder alice --stop --end now
  holdmetrics record --token GOLD --holder alice --start 2026-01-01T00:00:00Z --weight 12.5 --retract`,
		Args: cobra.NoArgs,
	}
	server := connect.ServerFlags(c)
	f := c.Flags()
	f.StringVar(&d.Token, "token", "", "token id")
	f.StringVar(&d.Holder, "holder", "", "holder id")
	f.StringVar(&start, "start", "", "start of the hold: "+usage.TimeHelp)
	f.StringVar(&end, "end", "", "end of the hold, or of a stop: "+usage.TimeHelp+"; none: still open")
	f.StringVar(&d.WeightExact, "weight", "", "weight, a `decimal` of up to 37 digits and 18 after the point, without exponent; exact, as weight_exact is (default 1)")
	f.StringVar(&d.HoldID, "hold-id", "", "`id` of this hold within its token and holder")
	f.Uint64Var(&d.Revision, "revision", 0, "revision of what carries a hold id; the greatest counts")
	f.BoolVar(&stop, "stop", false, "a stop: ends the open hold that started last before --end")
	f.BoolVar(&d.Retract, "retract", false, "take away what the other flags name")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		now := usage.WallClock()
		// An empty flag is most often a variable that is not set, and not "not given".
		for _, name := range []string{"start", "end", "weight", "hold-id"} {
			if flag := f.Lookup(name); flag.Changed && flag.Value.String() == "" {
				return usage.Errorf("--%s is empty; leave it out where it is not given", name)
			}
		}
		if f.Changed("revision") && d.HoldID == "" {
			return usage.Errorf("--revision is of what carries a hold id; give --hold-id too")
		}
		if err := checkWeight(d.WeightExact); err != nil {
			return err
		}
		if d.Start, err = usage.ParseStamp("start", start, now); err != nil {
			return err
		}
		if d.End, err = usage.ParseStamp("end", end, now); err != nil {
			return err
		}
		if stop && (d.Start.Set || !d.End.Set) {
			return usage.Errorf("a stop has --end and no --start")
		}
		if !stop && !d.Start.Set && d.End.Set {
			return usage.Errorf("an end without a start is a stop; say --stop, or give --start")
		}
		return sendOne(c, server, &d)
	}
	return c
}

// checkWeight tells what is wrong with --weight before a server does, which
// would name the field and not the flag.
func checkWeight(text string) error {
	if text == "" {
		return nil
	}
	_, err := hold.ParseWeight(text)
	switch {
	case err == nil:
		return nil
	case strings.HasPrefix(text, "-"):
		return usage.Errorf("--weight %s is negative; a weight is 0 or more", rows.Quote(text))
	case strings.ContainsAny(text, "eE") && strings.Trim(text, "0123456789.+-eE") == "":
		return usage.Errorf("--weight %s has an exponent; write the decimal out, as 1000 or 0.001", rows.Quote(text))
	}
	return usage.Errorf("--weight %s %w (up to 37 digits, then optionally a point and up to 18)", rows.Quote(text), err)
}

func sendOne(c *cobra.Command, server *connect.Server, d *hold.Draft) error {
	conn, err := server.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ack, err := holdpb.NewHoldMetricsClient(conn).Record(c.Context(), connect.MessageOf(d))
	if err != nil {
		return server.Error(err)
	}
	if !ack.GetOk() {
		return errors.New(ack.GetError())
	}
	if note := ack.GetNote(); note != "" {
		fmt.Fprintln(c.ErrOrStderr(), "holdmetrics: note: the event "+rows.Safe(note))
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "accepted at position %d\n", ack.GetPosition())
	return err
}
