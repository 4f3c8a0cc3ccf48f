package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	holdpb "holdmetrics/proto"
)

// Every kind of correction goes all the way from the command line to a watcher, and
// to the store.
func TestCorrectionsReachAWatcher(t *testing.T) {
	t.Parallel()
	p, _ := started(t, t.TempDir())
	server := p.GRPCAddr().String()
	conn, err := connect.Dial(server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch, err := holdpb.NewHoldMetricsClient(conn).Stats(ctx, &holdpb.StatsRequest{Watch: true, Live: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what    string
		record  string // flags, beside token and holder
		settled string // weight-seconds that are watched then
		rate    string // of the live score
	}{
		{"an open hold", "--start 100 --weight 2", "0", "2"},
		{"it ends", "--start 100 --end 110 --weight 2", "20", "0"},
		{"the end is retracted", "--start 100 --end 110 --weight 2 --retract", "0", "2"},
		{"a stop", "--stop --end 120", "40", "0"},
		{"the stop is retracted", "--stop --end 120 --retract", "0", "2"},
		{"another end", "--start 100 --end 130 --weight 2", "60", "0"},
		{"the hold itself is retracted", "--start 100 --end 130 --weight 2 --retract", "0", "2"},
		{"and its beginning", "--start 100 --weight 2 --retract", "0", "0"},
		{"a hold with an id", "--start 200 --end 210 --weight 1 --hold-id lot", "10", "0"},
		{"its weight is corrected", "--start 200 --end 210 --weight 3 --hold-id lot --revision 1", "30", "0"},
		{"an earlier revision comes late", "--start 200 --end 290 --weight 9 --hold-id lot", "30", "0"},
		{"it is open after all", "--start 200 --weight 3 --hold-id lot --revision 2", "0", "3"},
		{"it is stopped by its id", "--stop --end 220 --hold-id lot --revision 2", "60", "0"},
		{"the stop was too early", "--stop --end 230 --hold-id lot --revision 3", "90", "0"},
		{"that stop is retracted", "--stop --end 230 --hold-id lot --revision 3 --retract", "60", "0"},
		{"it is retracted by its id", "--hold-id lot --revision 3 --retract", "0", "0"},
		{"and sent again, later", "--start 200 --end 205 --weight 1 --hold-id lot --revision 4", "5", "0"},
	} {
		var out, errText bytes.Buffer
		args := append([]string{"record", "--server", server, "--token", "T", "--holder", "h"}, strings.Fields(step.record)...)
		if code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errText}); code != exitOK {
			t.Fatalf("%s: %s", step.what, errText.String())
		}
		var position uint64
		if _, err := fmt.Sscanf(out.String(), "accepted at position %d", &position); err != nil {
			t.Fatal(err)
		}
		s := seen(t, watch, position)
		if s.GetScoreExact() != step.settled || s.GetLiveRate() != step.rate || s.GetWaiting() != 0 {
			t.Errorf("%s: the watcher sees %s at a rate of %s, %d waiting; want %s, %s", step.what, s.GetScoreExact(), s.GetLiveRate(), s.GetWaiting(), step.settled, step.rate)
		}
		out.Reset()
		if code := run(t.Context(), []string{"stats", "h", "--server", server, "--as-of", "1000", "--format", "csv"},
			streams{in: strings.NewReader(""), out: &out, err: &errText}); code != exitOK {
			t.Fatalf("%s: %s", step.what, errText.String())
		}
		if !strings.Contains(out.String(), ","+step.settled+",") {
			t.Errorf("%s: the store says %s, want %s", step.what, out.String(), step.settled)
		}
	}
}

// seen waits for the snapshot of a position.
func seen(t *testing.T, watch grpc.ServerStreamingClient[holdpb.HoldStat], position uint64) *holdpb.HoldStat {
	t.Helper()
	for {
		s, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if s.GetHolderId() == "h" && s.GetPosition() >= position {
			return s
		}
	}
}
