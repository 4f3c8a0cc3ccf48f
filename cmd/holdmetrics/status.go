package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	gatequery "holdmetrics/gateway/query"
	holdpb "holdmetrics/proto"
)

func newStatus() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show workers, partition owners and lag",
		Long: `Status asks a gateway, or serve, for the workers and the partitions: who owns
each, under which epoch, up to which position of the log it is applied, stored
and published, and how far that is behind the end of the log: in messages, in
events, and in seconds by the log's time. A message has one event or a frame of
many, so events that the worker has not read yet are an estimate, from the mean
of late, marked ~; those that it has read and not applied are counted. Of a partition
that is loading or has no owner, the snapshots and the store say how far it is, and
the log how much is behind that. ? is what nobody knows. A partition
moves unless it failed, has no owner, or has been at one thing for too long.`,
		Args: cobra.NoArgs,
	}
	server := connect.ServerFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		conn, err := server.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		var header metadata.MD
		answer, err := holdpb.NewHoldMetricsQueryClient(conn).Status(c.Context(), &holdpb.Empty{}, grpc.Header(&header))
		if err != nil {
			return server.Error(err)
		}
		out := printing.SafeText(c.OutOrStdout())
		if err := writeStatus(out, answer); err != nil {
			return err
		}
		if lost := header.Get(gatequery.LostHeader); len(lost) > 0 {
			_, err = fmt.Fprintf(out, "%s messages of the log are lost by an operator's decision; 'holdmetrics log repair' names them\n", lost[0])
		}
		return err
	}
	return c
}

func writeStatus(w io.Writer, s *holdpb.StatusAnswer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "partition\towner\tstate\tmoves\tepoch\tposition\tstored\tpublished\tend\tlag\tlag_events\tlag_seconds\tlast_error")
	owned := map[string]int{}
	unknown := false // for how long something is behind
	for _, p := range s.GetPartitions() {
		moves := "yes"
		if !p.GetMoving() {
			moves = "no"
		}
		owner := p.GetOwner()
		if owner == "" {
			owner = "-"
		}
		fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", p.GetPartition(), owner, p.GetState(), moves,
			p.GetEpoch(), p.GetPosition(), p.GetStored(), p.GetPublished(), p.GetEnd(), p.GetLag(), estimated(p.GetLagEvents(), p.GetLagEventsEstimated()), lagSeconds(p.GetLagSeconds(), p.GetLag() > 0 && p.GetAppliedThrough() == nil),
			strings.ReplaceAll(p.GetTrouble(), "\n", "; "))
		owned[p.GetOwner()]++
		unknown = unknown || p.GetLag() > 0 && p.GetAppliedThrough() == nil
	}
	fmt.Fprintln(out)
	fmt.Fprintln(out, "worker\tpartitions\thost\tversion\tup\theard")
	for _, worker := range s.GetWorkers() {
		ago := func(t interface{ AsTime() time.Time }, given bool) string {
			if !given {
				return "-"
			}
			return max(0, s.GetAt().AsTime().Sub(t.AsTime())).Round(100 * time.Millisecond).String()
		}
		fmt.Fprintf(out, "%s\t%d\t%s\t%s\t%s\t%s\n", worker.GetId(), owned[worker.GetId()], orDash(worker.GetHost()), orDash(worker.GetVersion()),
			ago(worker.GetStarted(), worker.GetStarted() != nil), ago(worker.GetHeard(), worker.GetHeard() != nil))
	}
	fmt.Fprintf(out, "\n%d events applied, %d holders, lag %d messages, %s events, %s seconds\n",
		s.GetEvents(), s.GetHolders(), s.GetLag(), estimated(s.GetLagEvents(), s.GetLagEventsEstimated()), lagSeconds(s.GetLagSeconds(), unknown))
	if s.GetGeneration() != "" {
		fmt.Fprintf(out, "generation %s", s.GetGeneration())
		if s.GetRules() != "" {
			fmt.Fprintf(out, ", rules %s", s.GetRules())
		}
		if s.GetPrepared() != "" {
			fmt.Fprintf(out, "; %s is prepared", s.GetPrepared())
		}
		fmt.Fprintln(out)
	}
	if why := s.GetRefused(); why != "" {
		fmt.Fprintf(out, "no events are taken: %s\n", strings.ReplaceAll(why, "\n", "; "))
	}
	if d := s.GetDeadLetters(); d.GetMessages() > 0 {
		fmt.Fprintf(out, "dead letters: %.1f MiB of %.1f MiB", float64(d.GetBytes())/(1<<20), float64(d.GetMaxBytes())/(1<<20))
		if d.GetFull() {
			fmt.Fprintf(out, "; they are full, and the oldest go: the first is of %s", d.GetSince().AsTime().Format(time.RFC3339))
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// estimated is a number, marked where some of it is an estimate.
func estimated(n, guessed uint64) string {
	if guessed > 0 {
		return fmt.Sprintf("~%d", n)
	}
	return fmt.Sprint(n)
}

// lagSeconds is how old what is applied is; "?" where something is behind and nobody knows.
func lagSeconds(seconds float64, unknown bool) string {
	if unknown && seconds == 0 {
		return "?"
	}
	return fmt.Sprintf("%.1f", seconds)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
