package logcmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
)

func newLogVerify() *cobra.Command {
	var partition int
	var format string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check the whole log for faults",
		Long: `Verify reads the log and counts what each partition has. It ends with 1, and names
each fault with its position, where

  - the stream does not begin with position 1, or lacks a message;
  - its settings could lose messages, or put them into the wrong partition;
  - a message or an event is refused, and no dead letter says so: it is not applied
    yet, or the dead letters were deleted;
  - a partition is not sealed up to the horizon that the settings name, since a
    'holdmetrics seal' was cut short;
  - an imported message does not say what time it had.

What is refused and has its dead letter, open or resolved, was refused properly: it is
counted, and no fault. What rules refuse beyond that is not looked at.`,
		Example: `  holdmetrics log verify
  holdmetrics log verify --partition 3`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.IntVar(&partition, "partition", -1, "of this partition alone (default: all)")
	f.StringVar(&format, "format", "table", "of the counts: table, csv or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if f.Changed("partition") && partition < 0 {
			return usage.Errorf("--partition %d is negative", partition)
		}
		if err := printing.CheckFormat(format); err != nil {
			return err
		}
		return connect.WithNATS(c, func(ctx context.Context, js jetstream.JetStream) error {
			return verifyLog(ctx, c, js, partition, format)
		})
	}
	return c
}

func verifyLog(ctx context.Context, c *cobra.Command, js jetstream.JetStream, partition int, format string) error {
	faults := 0
	report := func(where, reason string) {
		faults++
		fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n", where, printable(reason))
	}
	log, err := ingest.FindLog(ctx, js)
	if errors.Is(err, ingest.ErrLogSettings) {
		// With such settings it is not known what the stream is.
		report("settings", err.Error())
		return errFaults(faults)
	}
	if err != nil {
		return err
	}
	if partition >= log.Partitions() {
		return usage.NoSuchPartition(partition, log)
	}
	if err := log.DeadLetters().Check(ctx); errors.Is(err, ingest.ErrLogSettings) {
		report("settings", err.Error())
	} else if err != nil {
		return printing.Interrupted(err)
	}
	last, err := log.LastPosition(ctx)
	if err != nil {
		return printing.Interrupted(err)
	}
	bar := printing.NewCountBar(c, "verifying", int64(last))
	before := uint64(0)
	counts, err := log.Verify(ctx, partition, func(t ingest.Fault) {
		bar.Clear()
		switch {
		case t.Position == 0:
			report("log", t.Reason)
		case t.Partition < 0:
			report("position "+usage.PositionText(t.Position), t.Reason)
		default:
			report(fmt.Sprintf("position %d, partition %d, index %d", t.Position, t.Partition, t.Index), t.Reason)
		}
	}, func(position uint64) {
		bar.Add(int(position - before))
		before = position
	})
	bar.Clear()
	if err != nil {
		return printing.Interrupted(err)
	}
	out, err := printing.NewRowWriter(c.OutOrStdout(), format, []string{"partition", "messages", "events", "refused", "bytes", "first", "last"})
	if err != nil {
		return err
	}
	var sum ingest.PartitionCount
	for _, p := range counts {
		sum.Messages, sum.Events, sum.Refused = sum.Messages+p.Messages, sum.Events+p.Events, sum.Refused+p.Refused
		if err := out.Write(strconv.Itoa(p.Partition), usage.PositionText(p.Messages), usage.PositionText(p.Events), usage.PositionText(p.Refused),
			usage.PositionText(p.Bytes), usage.PositionText(p.First), usage.PositionText(p.Last)); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	if format == "table" {
		if at := log.Horizon(); at != 0 {
			if _, err := fmt.Fprintf(c.OutOrStdout(), "sealed: all before %s\n", timeOfNs(at)); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(c.OutOrStdout(), "log %s: %d messages, %d events, of which %d were refused\n", log.ID(), sum.Messages, sum.Events, sum.Refused); err != nil {
			return err
		}
	}
	return errFaults(faults)
}

func errFaults(n int) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%s found", printing.Counted(int64(n), "fault was", "faults were"))
}
