package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdpb "holdmetrics/proto"
)

// scripted answers each call of Stats by the next function of a list.
type scripted struct {
	holdpb.UnimplementedHoldMetricsServer
	calls  atomic.Int64
	script []func(*holdpb.StatsRequest, grpc.ServerStreamingServer[holdpb.HoldStat]) error
}

func (s *scripted) Stats(req *holdpb.StatsRequest, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	n := int(s.calls.Add(1)) - 1
	if n >= len(s.script) {
		return status.Error(codes.Internal, "called too often")
	}
	return s.script[n](req, stream)
}

// sends returns a call that checks the point it is asked to go on from, sends
// messages and ends with an error.
func sends(from string, end error, messages ...*holdpb.HoldStat) func(*holdpb.StatsRequest, grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	return func(req *holdpb.StatsRequest, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
		if got := req.GetResumeFrom(); got != from || req.GetHeartbeat().AsDuration() != watchHeartbeat {
			return status.Error(codes.InvalidArgument, fmt.Sprintf("resume_from is %q and not %q, or the heartbeat %s is wrong", got, from, req.GetHeartbeat().AsDuration()))
		}
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		return end
	}
}

// watchScripted runs stats --watch against a scripted server.
func watchScripted(t *testing.T, s *scripted, args ...string) (code int, out, errText string) {
	t.Helper()
	address := serveGRPC(t, func(server *grpc.Server) { holdpb.RegisterHoldMetricsServer(server, s) })
	var outText, problems strings.Builder
	code = run(t.Context(), append([]string{"stats", "--watch", "--server", address}, args...), streams{out: &outText, err: &problems})
	return code, outText.String(), problems.String()
}

// A watch that a proxy ends goes on from the last mark, and says so.
func TestWatchGoesOnAfterAnInterruption(t *testing.T) {
	t.Parallel()
	reset := status.Error(codes.Internal, "stream terminated by RST_STREAM\x1b[2J")
	stat := func(holder, score string) *holdpb.HoldStat {
		return &holdpb.HoldStat{HolderId: holder, LiveScore: score}
	}
	mark := func(point string) *holdpb.HoldStat { return &holdpb.HoldStat{Mark: true, ResumeFrom: point} }
	s := &scripted{script: []func(*holdpb.StatsRequest, grpc.ServerStreamingServer[holdpb.HoldStat]) error{
		sends("", reset, stat("a", "1"), &holdpb.HoldStat{Complete: true}, mark("v-1"), stat("b", "2"), mark("v-2")),
		sends("v-2", status.Error(codes.Unavailable, "restarting")),
		sends("v-2", nil, &holdpb.HoldStat{Complete: true, Resumed: true}, mark("v-3"), stat("c", "3")),
		sends("v-3", nil, stat("a", "4"), &holdpb.HoldStat{Complete: true}, mark("w-1"), stat("d", "5")),
	}}
	code, out, errText := watchScripted(t, s, "--count", "5", "--format", "csv")
	want := "holder_id,score,held_seconds,settled_score,settled_held_seconds,as_of,position\na,1,,,,,0\nb,2,,,,,0\nc,3,,,,,0\na,4,,,,,0\nd,5,,,,,0\n"
	if code != exitOK || out != want {
		t.Errorf("exit code %d, %q", code, out)
	}
	if want := `holdmetrics: the watch was interrupted ("stream terminated by RST_STREAM\x1b[2J"); connecting again
holdmetrics: connected again: the watch went on where it was
holdmetrics: the watch was interrupted (the server ended it); connecting again
holdmetrics: connected again: every current value was sent once more
`; errText != want {
		t.Errorf("got\n%swant\n%s", errText, want)
	}
}

// A refusal, and a server that never answered, end a watch at once; so does an
// interruption where no time to reconnect is given.
func TestWatchEndsWhereReconnectingIsOfNoUse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script []func(*holdpb.StatsRequest, grpc.ServerStreamingServer[holdpb.HoldStat]) error
		args   []string
		want   string
	}{
		"never answered": {
			script: []func(*holdpb.StatsRequest, grpc.ServerStreamingServer[holdpb.HoldStat]) error{sends("", status.Error(codes.Unavailable, "away"))},
			want:   "away",
		},
		"refused after an interruption": {
			script: []func(*holdpb.StatsRequest, grpc.ServerStreamingServer[holdpb.HoldStat]) error{
				sends("", nil, &holdpb.HoldStat{Complete: true}),
				sends("", status.Error(codes.PermissionDenied, "not any more")),
			},
			want: "not any more",
		},
		"no reconnecting": {
			script: []func(*holdpb.StatsRequest, grpc.ServerStreamingServer[holdpb.HoldStat]) error{sends("", nil, &holdpb.HoldStat{Complete: true})},
			args:   []string{"--reconnect", "0s"},
			want:   "the server ended it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scripted{script: c.script}
			code, _, errText := watchScripted(t, s, c.args...)
			if code != exitFailed || !strings.Contains(errText, c.want) || int(s.calls.Load()) != len(c.script) {
				t.Errorf("exit code %d, %d calls, %q", code, s.calls.Load(), errText)
			}
		})
	}
}

// A table drops the holders who left during an interruption, unless the watch went on.
func TestLiveTableAfterAnInterruption(t *testing.T) {
	t.Parallel()
	stat := func(holder string) *holdpb.HoldStat {
		return &holdpb.HoldStat{HolderId: holder, LiveBase: "1", LiveRate: "0", LiveHeldBase: "0"}
	}
	for _, resumed := range []bool{true, false} {
		table := &liveTable{lines: map[string]liveLine{}}
		for _, s := range []*holdpb.HoldStat{stat("a"), stat("b"), {Complete: true}} {
			if err := table.take(s); err != nil {
				t.Fatal(err)
			}
		}
		table.interrupt("interrupted")
		if text := table.draw(0, 200, 24); !strings.Contains(text, ", interrupted,") {
			t.Errorf("the table says nothing of the interruption: %s", text)
		}
		for _, s := range []*holdpb.HoldStat{stat("b"), {Complete: true, Resumed: resumed}} {
			if err := table.take(s); err != nil {
				t.Fatal(err)
			}
		}
		if _, has := table.lines["a"]; has != resumed || len(table.lines) == 0 {
			t.Errorf("resumed %v: %d holders", resumed, len(table.lines))
		}
	}
}
