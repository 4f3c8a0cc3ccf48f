package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

func TestScores(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	const now = fakes.TestNow / 1e9
	for name, c := range map[string]struct {
		req  *holdpb.ScoresRequest
		want []string // token, holder, score, held, settled, settled held
	}{
		"now, by holder": {&holdpb.ScoresRequest{}, []string{
			fmt.Sprint(" alice ", 2500+300+now-5000, " ", 1000+100+now-5000, " 2800 1100"),
			" bo/b 21000 3000 21000 3000",
			fmt.Sprint(" lock ", 2*(now-1000), " ", now-1000, " ", 2*(now-900), " ", now-900),
			" waits 0 0 0 0",
		}},
		"now, by token": {&holdpb.ScoresRequest{ByToken: true}, []string{
			"x alice 2500 1000 2500 1000",
			fmt.Sprint("y alice ", 300+now-5000, " ", 100+now-5000, " 300 100"),
			"x bo/b 21000 3000 21000 3000",
			fmt.Sprint("z lock ", 2*(now-1000), " ", now-1000, " ", 2*(now-900), " ", now-900),
			"x waits 0 0 0 0",
		}},
		"as of, all": {&holdpb.ScoresRequest{AsOf: fakes.Seconds(2001)}, []string{
			" alice 2800 1100 2800 1100",
			" bo/b 1010 1001 0 0",
			" lock 2002 1001 0 0",
			" waits 0 0 0 0",
		}},
		"as of a fraction, one, by token": {&holdpb.ScoresRequest{HolderId: "alice", ByToken: true, AsOf: &timestamppb.Timestamp{Seconds: 1000, Nanos: 1}}, []string{
			"x alice 0.0000000025 0.000000001 0 0",
			"y alice 0.000000003 0.000000001 0 0",
		}},
		"as of the epoch": {&holdpb.ScoresRequest{HolderId: "alice", AsOf: fakes.Seconds(0)}, []string{" alice 0 0 0 0"}},
		"as of the end":   {&holdpb.ScoresRequest{HolderId: "bo/b", AsOf: fakes.Seconds(4000)}, []string{" bo/b 21000 3000 21000 3000"}},
		"one, now":        {&holdpb.ScoresRequest{HolderId: "bo/b"}, []string{" bo/b 21000 3000 21000 3000"}},
		"only waiting":    {&holdpb.ScoresRequest{HolderId: "waits", ByToken: true}, []string{"x waits 0 0 0 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, err := gatewaytest.AllOf(t, w, c.req)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rows {
				got = append(got, strings.Join([]string{r.TokenId, r.HolderId, r.Score, r.HeldSeconds, r.SettledScore, r.SettledHeldSeconds}, " "))
				if fmt.Sprintf("%.0f", r.ScoreDouble) != fmt.Sprintf("%.0f", mustFloat(r.Score)) {
					t.Errorf("double %v beside %s", r.ScoreDouble, r.Score)
				}
				want := fakes.TestNow
				if c.req.AsOf != nil {
					want = c.req.AsOf.AsTime().UnixNano()
				}
				if r.AsOf.AsTime().UnixNano() != want || r.AppliedThrough.GetSeconds() != 1_650_000_000 {
					t.Errorf("as of %v, applied through %v", r.AsOf, r.AppliedThrough)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func mustFloat(s string) (f float64) {
	if _, err := fmt.Sscan(s, &f); err != nil {
		panic(err)
	}
	return f
}

// Rows of all partitions come in one order, whatever the partition and however
// many stretches it takes.
func TestScoresMergePartitions(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	var events []hold.Draft
	var want []string
	for i := range 4 * 2 * 256 {
		holder := fmt.Sprintf("h%06d", i)
		events = append(events, fakes.Held("t", holder, 100, 200, 1), fakes.Held("u", holder, 100, 200, 1))
		want = append(want, holder)
	}
	w.Apply(t, 1, 1e9, events...)
	for _, asOf := range []*timestamppb.Timestamp{nil, fakes.Seconds(150)} {
		for _, byToken := range []bool{false, true} {
			rows, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{AsOf: asOf, ByToken: byToken})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, r := range rows {
				if byToken && r.TokenId != []string{"t", "u"}[i%2] {
					t.Fatalf("row %d: %v", i, r)
				}
				if !byToken || i%2 == 0 {
					got = append(got, r.HolderId)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d holders, want %d, in order", len(got), len(want))
			}
		}
	}
}

// A client that leaves in the middle leaves nothing open (goleak, and the store's
// own check at Close).
func TestScoresOfAClientThatLeaves(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	var events []hold.Draft
	for i := range 16 * 256 {
		events = append(events, fakes.Held("t", fmt.Sprintf("h%06d", i), 100, 200, 1))
	}
	w.Apply(t, 1, 1e9, events...)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := w.Query().Scores(ctx, &holdpb.ScoresRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Fatal(err)
	}
}

func TestScoresRefusals(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	for name, c := range map[string]struct {
		req   *holdpb.ScoresRequest
		code  codes.Code
		field string
	}{
		"unknown holder":   {&holdpb.ScoresRequest{HolderId: "nobody"}, codes.NotFound, ""},
		"before the epoch": {&holdpb.ScoresRequest{AsOf: fakes.Seconds(-1)}, codes.InvalidArgument, "as_of"},
		"past 2200":        {&holdpb.ScoresRequest{AsOf: fakes.Seconds(hold.MaxTime/1e9 + 1)}, codes.InvalidArgument, "as_of"},
		"bad nanoseconds":  {&holdpb.ScoresRequest{AsOf: &timestamppb.Timestamp{Seconds: 1, Nanos: -1}}, codes.InvalidArgument, "as_of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := gatewaytest.AllOf(t, w, c.req)
			if status.Code(err) != c.code || gatewaytest.Violated(err) != c.field {
				t.Fatalf("got %v (%q)", err, gatewaytest.Violated(err))
			}
		})
	}
}

func TestScoresOfABrokenStore(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	w.Store.FailNext(storetest.OpView, 1000, errors.New("disk on fire"))
	if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{}); status.Code(err) != codes.Internal {
		t.Fatal(err)
	}
	if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{HolderId: "alice"}); status.Code(err) != codes.Internal {
		t.Fatal(err)
	}
}

func TestScoresWaitForTheStore(t *testing.T) {
	t.Parallel()
	ends := map[int]uint64{0: 0, 1: 50, 2: 70, 3: 60}
	for name, c := range map[string]struct {
		after uint64
		want  map[int]uint64
	}{
		"all that the log holds": {0, map[int]uint64{1: 50, 2: 70, 3: 60}},
		"a position":             {55, map[int]uint64{1: 50, 2: 55, 3: 55}},
		// The position comes while it is waited for, in one partition. The others
		// never see it.
		"not there yet": {71, map[int]uint64{1: 50, 2: 71, 3: 60}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			waits := make(chan [2]uint64, 16)
			w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
				w.Cfg.Log = &growingLog{Log: fakes.Log{Size: 4, Ends: maps.Clone(ends)}, to: max(c.after, 70)}
				w.Cfg.WaitApplied = func(_ context.Context, p int, position uint64) error {
					waits <- [2]uint64{uint64(p), position}
					return nil
				}
			})
			if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{After: c.after}); err != nil {
				t.Fatal(err)
			}
			close(waits)
			got := map[int]uint64{}
			for wait := range waits {
				got[int(wait[0])] = wait[1]
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("waited for %v, want %v", got, c.want)
			}
		})
	}
}

// growingLog gets to a position in its partition 2 at the third look.
type growingLog struct {
	fakes.Log
	to    uint64
	looks atomic.Int64
}

func (l *growingLog) LastPosition(ctx context.Context) (uint64, error) {
	if l.looks.Add(1) == 3 {
		l.Ends[2] = l.to
	}
	return l.Log.LastPosition(ctx)
}

// A position that the log does not get to is not there, whatever a processor says
// of the positions that it knows.
func TestReadsOfAPositionThatDoesNotCome(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Freshness = 20 * time.Millisecond
		w.Cfg.Log = &fakes.Log{Size: 4, Ends: map[int]uint64{0: 5, 1: 5, 2: 5, 3: 5}}
	})
	for _, path := range []string{
		"/scores?", "/scores?holder=alice&", "/stats?", "/stats?as_of=5&", "/stats/alice?", "/stats/alice/holds?",
		"/stats/alice/history?", "/stats/alice/rank?", "/top?", "/top?token=x&", "/stats/watch?",
	} {
		resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+path+"after=6", "")
		if p := gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != 504 || !strings.Contains(p.Detail, "position 6 within") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{HolderId: "alice", After: 6}); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

func TestScoresOfAStoreThatStaysBehind(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Freshness = time.Millisecond
		w.Cfg.Log = &fakes.Log{Size: 1, Ends: map[int]uint64{0: 5}}
		w.Cfg.WaitApplied = func(ctx context.Context, _ int, _ uint64) error { <-ctx.Done(); return ctx.Err() }
	})
	_, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{HolderId: "alice"})
	if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "hint") {
		t.Fatal(err)
	}
	w = gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Log = &fakes.Log{Size: 1, Ends: map[int]uint64{0: 5}}
		w.Cfg.WaitApplied = func(context.Context, int, uint64) error { return errors.New("partition 0 has stopped") }
	})
	if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{}); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "has stopped") {
		t.Fatal(err)
	}
	w = gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Log = &fakes.Log{Size: 1, Err: errors.New("no responders")} })
	if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{}); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
}

func TestRecordRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		event *holdpb.HoldMsg
		err   error
		code  codes.Code
		field string
	}{
		"good":        {gatewaytest.GoodEvent(1), nil, codes.OK, ""},
		"no token":    {&holdpb.HoldMsg{HolderId: "h", Start: fakes.Seconds(1)}, nil, codes.InvalidArgument, "token_id"},
		"long id":     {&holdpb.HoldMsg{TokenId: "t", HolderId: strings.Repeat("h", 257), Start: fakes.Seconds(1)}, nil, codes.InvalidArgument, "holder_id"},
		"future":      {&holdpb.HoldMsg{TokenId: "t", HolderId: "h", Start: fakes.Seconds(fakes.TestNow/1e9 + 301)}, nil, codes.InvalidArgument, "start"},
		"busy":        {gatewaytest.GoodEvent(1), ingest.ErrBusy, codes.ResourceExhausted, ""},
		"closed":      {gatewaytest.GoodEvent(1), ingest.ErrClosed, codes.Unavailable, ""},
		"log is away": {gatewaytest.GoodEvent(1), &ingest.NotAcknowledgedError{Cause: errors.New("no responders")}, codes.Unavailable, ""},
		"unknown":     {gatewaytest.GoodEvent(1), errors.New("bug"), codes.Internal, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = &fakes.Producer{Err: c.err} })
			ack, err := w.Metrics().Record(t.Context(), c.event)
			if status.Code(err) != c.code || gatewaytest.Violated(err) != c.field || (err == nil) != ack.GetOk() {
				t.Fatalf("got %v, %v", ack, err)
			}
			if c.code == codes.ResourceExhausted && len(status.Convert(err).Details()) != 1 {
				t.Fatal("no retry info")
			}
		})
	}
	t.Run("not UTF-8", func(t *testing.T) {
		t.Parallel()
		w := gatewaytest.NewWorld(t)
		err := w.Conn.Invoke(t.Context(), holdpb.HoldMetrics_Record_FullMethodName,
			&gatewaytest.RawBytes{Bytes: []byte{0x0a, 1, 0xff}}, new(holdpb.HoldAck), gatewaytest.ForceRaw)
		if status.Code(err) != codes.InvalidArgument || gatewaytest.Violated(err) != "token_id" {
			t.Fatal(err)
		}
	})
}
