package crash

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/processor/hold"
	holdpb "holdmetrics/proto"
)

// TestServe disturbs the one process that is everything.
func TestServe(t *testing.T) {
	t.Parallel()
	for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			at := ports(t, 3)
			p := run(t, "serve", binary, "serve", "--data-dir", t.TempDir(), "--policy", policy.String(),
				"--grpc-address", at[0], "--http-address", at[1], "--nats-address", at[2])
			t.Logf("seed %d", *seed)
			l := startLoad(t, 2, *seed, at[0])
			w := startWatcher(t, at[0], false)
			c := &chaos{t: t, rand: rand.New(rand.NewPCG(*seed, 1<<32+uint64(policy))), load: l, procs: []*process{p}, pause: 300 * time.Millisecond}
			l.more(t, batchSize)
			c.disturb(*kills)
			l.more(t, batchSize)
			acked, again := l.finish()
			compare(t, policy, acked, at[0])
			w.finish()
			t.Logf("%d events, %d batches sent again; %d kills (%d of them twice), %d pauses, %d clean stops; %d updates in %d watches",
				len(acked), again, c.killed, c.early, c.paused, c.restarted, w.updates, w.watches)
		})
	}
}

// compare wants the store and the snapshots behind a door to say what a fold of
// the events says, as of instants within and behind them.
func compare(t *testing.T, policy hold.Policy, acked []*holdpb.HoldMsg, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want := newTruth(policy)
	for _, m := range acked {
		want.add(t, m)
	}
	conn := dial(t, address)
	future := time.Now().AddDate(10, 0, 0).UnixNano()
	for _, at := range []int64{future, (firstDay + 3600*100) * 1e9, (firstDay+3600*24*11)*1e9 + 1} {
		got, err := rows(ctx, holdpb.NewHoldMetricsQueryClient(conn), at)
		for passing(err) && ctx.Err() == nil {
			got, err = rows(ctx, holdpb.NewHoldMetricsQueryClient(conn), at)
		}
		if err != nil {
			t.Fatalf("reading the scores: %v", err)
		}
		differ(t, "score of the store", got, want.rows(at))
	}
	awaitSnapshots(ctx, t, holdpb.NewHoldMetricsClient(conn), want.snapshots(t, future), future)
}

// passing says whether a read may go well the next time: what was disturbed last
// is on its way back, and what it holds is not applied yet.
func passing(err error) bool {
	code := status.Code(err)
	return code == codes.DeadlineExceeded || code == codes.Unavailable
}

// rows are the figures of all pairs as the store has them.
func rows(ctx context.Context, door holdpb.HoldMetricsQueryClient, at int64) ([]string, error) {
	stream, err := door.Scores(ctx, &holdpb.ScoresRequest{AsOf: timestamppb.New(time.Unix(0, at)), ByToken: true}, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	var out []string
	for {
		s, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			slices.Sort(out)
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, row(pairName{s.TokenId, s.HolderId}, s.Score, s.HeldSeconds, s.SettledScore, s.SettledHeldSeconds))
	}
}

func differ(t *testing.T, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
	}
	told := 0
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] && told < 5 {
			told++
			t.Errorf("%s: row %d\n got %s\nwant %s", what, i, got[i], want[i])
		}
	}
}

// awaitSnapshots reads the snapshots until they say what is wanted. They follow
// the store at a distance.
func awaitSnapshots(ctx context.Context, t *testing.T, door holdpb.HoldMetricsClient, want map[string]string, at int64) {
	t.Helper()
	for {
		got := map[string]string{}
		err := snapshots(ctx, door, func(s *holdpb.HoldStat) { got[s.HolderId] = told(t, s, at) })
		if err != nil && !passing(err) {
			t.Fatalf("reading the snapshots: %v", err)
		}
		wrong := ""
		for holder, line := range want {
			if got[holder] != line {
				wrong = "snapshot of " + holder + "\n got " + got[holder] + "\nwant " + line
				break
			}
		}
		switch {
		case wrong == "" && len(got) == len(want):
			return
		case ctx.Err() != nil:
			t.Errorf("%d snapshots, want %d; %s", len(got), len(want), wrong)
			return
		}
	}
}
