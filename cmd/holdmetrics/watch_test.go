package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdpb "holdmetrics/proto"
)

// oneStat is a server that sends one snapshot and then nothing.
type oneStat struct {
	holdpb.UnimplementedHoldMetricsServer
}

func (oneStat) Stats(_ *holdpb.StatsRequest, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	if err := stream.Send(&holdpb.HoldStat{HolderId: "alice", LiveScore: "7", ScoreExact: "5"}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// onLine calls fn when something was written.
type onLine struct {
	strings.Builder
	fn func(string)
}

func (w *onLine) Write(b []byte) (int, error) {
	defer w.fn(string(b))
	return w.Builder.Write(b)
}

// serveGRPC runs a server of services that register adds, and returns its address. It
// ends with the test.
func serveGRPC(t *testing.T, register func(*grpc.Server)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func TestWatchEndsWithCtrlC(t *testing.T) {
	t.Parallel()
	address := serveGRPC(t, func(server *grpc.Server) { holdpb.RegisterHoldMetricsServer(server, oneStat{}) })

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var errText strings.Builder
	out := &onLine{fn: func(line string) {
		if strings.HasPrefix(line, "alice,") {
			cancel() // as the signal does
		}
	}}
	code := run(ctx, []string{"stats", "--watch", "--server", address}, streams{out: out, err: &errText})
	if code != exitOK || errText.Len() > 0 || !strings.HasSuffix(out.String(), "\nalice,7,,5,,,0\n") {
		t.Errorf("exit code %d, %q, %q", code, errText.String(), out.String())
	}
}

func TestLiveTable(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 5e8).UTC()
	table := &liveTable{lines: map[string]liveLine{}}
	if got := table.draw(now.UnixNano(), 80, 24); got != "0 of 0 holders, reading, as of 00:16:40Z; Ctrl-C ends\nrank  holder_id  score  held_seconds  settled_score\n" {
		t.Errorf("%q", got)
	}
	for _, s := range []*holdpb.HoldStat{
		{HolderId: "slow", LiveBase: "10", LiveRate: "0", LiveHeldBase: "1", ScoreExact: "10"},
		{HolderId: "fast", LiveBase: "0.5", LiveRate: "3.000000000000000001", LiveHeldBase: "0", LiveHeldRate: 1, ScoreExact: "0",
			Since: timestamppb.New(time.Unix(900, 0))},
		{HolderId: "ends", LiveBase: "0", LiveRate: "100", LiveHeldBase: "0", LiveHeldRate: 2, ScoreExact: "0",
			Since: timestamppb.New(time.Unix(900, 0)), Until: timestamppb.New(time.Unix(901, 0))},
		{HolderId: "goes", LiveBase: "1", LiveRate: "0", LiveHeldBase: "0", ScoreExact: "1"},
		{HolderId: "goes", Gone: true},
		{Complete: true},
	} {
		if err := table.take(s); err != nil {
			t.Fatal(err)
		}
	}
	want := `3 of 3 holders, as of 00:16:40Z; Ctrl-C ends
rank  holder_id  score                    held_seconds  settled_score
1     fast       302.0000000000000001005  100.5         0
2     ends       100                      2             0
3     slow       10                       1             10
`
	if got := table.draw(now.UnixNano(), 80, 24); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	// A small screen: no line too wide, no line too many.
	for _, size := range [][2]int{{20, 5}, {1, 1}, {40, 4}} {
		lines := strings.Split(strings.TrimSuffix(table.draw(now.UnixNano(), size[0], size[1]), "\n"), "\n")
		if len(lines) > max(3, size[1]) {
			t.Errorf("%d lines on a screen of %d", len(lines), size[1])
		}
		for _, line := range lines {
			if n := len([]rune(line)); n > size[0] {
				t.Errorf("%d columns on a screen of %d", n, size[0])
			}
		}
	}
	for i := range 3 {
		broken := []*holdpb.HoldStat{{LiveBase: "x"}, {LiveBase: "0", LiveHeldBase: "x"}, {LiveBase: "0", LiveHeldBase: "0", LiveRate: "x"}}[i]
		if err := table.take(broken); err == nil {
			t.Error(fmt.Sprint(broken), "was taken")
		}
	}
}
