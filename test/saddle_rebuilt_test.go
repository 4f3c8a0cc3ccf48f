package test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdpb "holdmetrics/proto"
)

// watcher is a watch of every holder.
type watcher struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error

	mu      sync.Mutex
	last    map[string]*holdpb.HoldStat // the last snapshot of each holder that is there
	failed  []string
	changed chan struct{} // closed and replaced with each message
}

// watchAll watches every holder. A position that steps back fails the test.
func (s *server) watchAll() *watcher {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	stream, err := holdpb.NewHoldMetricsClient(s.dial()).Stats(ctx, &holdpb.StatsRequest{Watch: true, Live: true})
	if err != nil {
		s.t.Fatal(err)
	}
	w := &watcher{t: s.t, cancel: cancel, ended: make(chan error, 1), last: map[string]*holdpb.HoldStat{}, changed: make(chan struct{})}
	go func() {
		for {
			stat, err := stream.Recv()
			if err != nil {
				w.ended <- err
				return
			}
			w.see(stat)
		}
	}()
	return w
}

func (w *watcher) see(stat *holdpb.HoldStat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
	holder := stat.GetHolderId()
	before := w.last[holder]
	switch {
	case holder == "":
	case stat.GetGone():
		delete(w.last, holder)
	case before.GetPosition() > stat.GetPosition():
		w.failed = append(w.failed, fmt.Sprintf("%s: position %d of generation %s after %d of %s",
			holder, stat.GetPosition(), stat.GetGeneration(), before.GetPosition(), before.GetGeneration()))
	default:
		w.last[holder] = stat
	}
}

// await returns when the watch has seen, of every holder, what is current.
func (w *watcher) await(current map[string]*holdpb.HoldStat) {
	w.t.Helper()
	late := time.After(patience)
	for {
		w.mu.Lock()
		changed, differs := w.changed, ""
		for holder, want := range current {
			got := w.last[holder]
			if got.GetGeneration() != want.GetGeneration() || got.GetScoreExact() != want.GetScoreExact() || got.GetPosition() != want.GetPosition() {
				differs = fmt.Sprintf("%s was last seen as %v, and is %v", holder, got, want)
			}
		}
		if differs == "" && len(w.last) != len(current) {
			differs = fmt.Sprintf("%d holders are seen, want %d", len(w.last), len(current))
		}
		w.mu.Unlock()
		if differs == "" {
			return
		}
		select {
		case <-changed:
		case err := <-w.ended:
			w.t.Fatalf("the watch ended with %v", err)
		case <-late:
			w.t.Fatal(differs)
		}
	}
}

// stop ends the watch and tells what was wrong with it.
func (w *watcher) stop() {
	w.t.Helper()
	w.cancel()
	if err := <-w.ended; status.Code(err) != codes.Canceled {
		w.t.Errorf("the watch ended with %v", err)
	}
	for _, f := range w.failed {
		w.t.Errorf("a position stepped back: %s", f)
	}
}

// produce sends events of a token of its own until stop, which gives how many were
// acknowledged and the position of the last one.
func (s *server) produce(token string) (stop func() (events int, position uint64)) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	client := holdpb.NewHoldMetricsClient(s.dial())
	var events int
	var position uint64
	var broke error
	var done sync.WaitGroup
	done.Go(func() {
		for i := int64(0); ctx.Err() == nil; i++ {
			ack, err := client.Record(context.Background(), &holdpb.HoldMsg{
				TokenId: token, HolderId: fmt.Sprintf("producer %d", i%50), HoldId: fmt.Sprint(i), WeightExact: "0.1",
				Start: &timestamppb.Timestamp{Seconds: 1_600_000_000 + i}, End: &timestamppb.Timestamp{Seconds: 1_600_000_100 + 2*i},
			})
			if err == nil && !ack.GetOk() {
				err = errors.New(ack.GetError())
			}
			if err != nil {
				broke = err
				return
			}
			events, position = events+1, max(position, ack.GetPosition())
		}
	})
	return func() (int, uint64) {
		cancel()
		done.Wait()
		if broke != nil {
			s.t.Errorf("the producer: %v", broke)
		}
		return events, position
	}
}

// byPair reads csv output of stats by token: "token,holder" to the exact score.
func byPair(t *testing.T, out string) map[string]*big.Rat {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	scores := map[string]*big.Rat{}
	for _, row := range rows[1:] {
		score, ok := new(big.Rat).SetString(row[2])
		if !ok {
			t.Fatalf("%q is no score", row[2])
		}
		scores[row[0]+","+row[1]] = score
	}
	return scores
}

// TestSaddleRebuilt rebuilds, verifies and activates the real transfers while
// others watch and publish; then by rules that double one token, and back.
func TestSaddleRebuilt(t *testing.T) {
	t.Parallel()
	file, published := saddle(t)
	s := start(t, t.TempDir())
	importTransfers(t, s, file)
	before := s.stats(saddleTime)
	wantPublished(t, before, published)

	watch := s.watchAll()
	stopProducer := s.produce("SIDE")
	operate := func(args ...string) string { return run(t, append(args, "--nats-url", s.nats)...) }

	if out := operate("rebuild", "--verify", "--activate"); !strings.Contains(out, ", 0 differ\n") || !strings.Contains(out, "generation 2 is active") {
		t.Errorf("rebuild says\n%s", out)
	}
	saddleOnly := func(out string) string {
		var kept []string
		for line := range strings.SplitAfterSeq(out, "\n") {
			if !strings.HasPrefix(line, "SIDE,") {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	wantSame(t, "stats of generation 2", saddleOnly(s.stats(saddleTime)), before)

	// One token counts twice.
	var token string
	for pair := range published {
		token, _, _ = strings.Cut(pair, ",")
		break
	}
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(rules, []byte(fmt.Sprintf("tokens:\n  - token: %q\n    multiplier: 2\n", token)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := operate("rebuild", "--rules", rules, "--activate"); !strings.Contains(out, "generation 3 is active") {
		t.Errorf("rebuild by other rules says\n%s", out)
	}
	was, doubled := byPair(t, before), byPair(t, saddleOnly(s.stats(saddleTime)))
	if len(doubled) != len(was) {
		t.Errorf("%d pairs have a score, want %d", len(doubled), len(was))
	}
	two := big.NewRat(2, 1)
	for pair, score := range was {
		want := score
		if strings.HasPrefix(pair, token+",") {
			want = new(big.Rat).Mul(score, two)
		}
		if got := doubled[pair]; got == nil || got.Cmp(want) != 0 {
			t.Fatalf("%s scores %v, want %v", pair, got, want)
		}
	}

	operate("rollback")
	wantSame(t, "stats after the rollback", saddleOnly(s.stats(saddleTime)), before)

	events, position := stopProducer()
	if events == 0 {
		t.Fatal("the producer came to nothing")
	}
	// What the watch ends with is what a read gives that has everything.
	stats, err := holdpb.NewHoldMetricsClient(s.dial()).Stats(t.Context(), &holdpb.StatsRequest{After: position})
	if err != nil {
		t.Fatal(err)
	}
	current := map[string]*holdpb.HoldStat{}
	for {
		stat, err := stats.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		current[stat.GetHolderId()] = stat
	}
	if out := operate("verify", "1", "2"); !strings.Contains(out, ", 0 differ\n") {
		t.Errorf("verify says\n%s", out)
	}
	for holder, stat := range current {
		if stat.GetGeneration() != "2" {
			t.Fatalf("%s is of generation %s, want 2", holder, stat.GetGeneration())
		}
	}
	watch.await(current)
	watch.stop()
}
