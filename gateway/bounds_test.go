package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// walkedReader counts the walks over its views: what is open in the store at once.
type walkedReader struct {
	projection.Reader
	open, all atomic.Int64
	hold      chan struct{} // of each walk over all pairs the first pair waits for it; nil: it does not
}

func (r *walkedReader) View(ctx context.Context, partition int) (projection.PartitionView, error) {
	v, err := r.Reader.View(ctx, partition)
	return &walkedView{v, r}, err
}

type walkedView struct {
	projection.PartitionView
	r *walkedReader
}

func (v *walkedView) AllPairs(ctx context.Context, fn func(*projection.PairRecord) error) error {
	v.r.open.Add(1)
	defer v.r.open.Add(-1)
	v.r.all.Add(1)
	if v.r.hold != nil {
		select {
		case <-v.r.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return v.PartitionView.AllPairs(ctx, fn)
}

func (v *walkedView) PairsAfter(ctx context.Context, after projection.PairKey, most int, fn func(*projection.PairRecord) error) (bool, error) {
	v.r.open.Add(1)
	defer v.r.open.Add(-1)
	return v.PartitionView.PairsAfter(ctx, after, most, fn)
}

// boundsWorld is a gateway over some holders, whose reads are counted.
func boundsWorld(t *testing.T, bounds query.Bounds, change ...func(*walkedReader)) (*gatewaytest.World, *walkedReader) {
	t.Helper()
	r := &walkedReader{}
	for _, c := range change {
		c(r)
	}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		r.Reader = w.Store
		w.Cfg.Reader, w.Cfg.Bounds = r, bounds
	})
	var drafts []hold.Draft
	for i := range 3000 {
		drafts = append(drafts, fakes.Held("t", fmt.Sprint(strings.Repeat("h", 200), i), 1, 2, 1))
	}
	for i := range 40 {
		drafts = append(drafts, fakes.Held(fmt.Sprint("token-", i), "alice", 1, int64(2+i), 1))
	}
	w.Apply(t, 5, 5e9, drafts...)
	return w, r
}

// slowReaders opens connections that ask and do not read, and waits until the server waits
// for all of them.
func slowReaders(t *testing.T, w *gatewaytest.World, n int, path string) {
	t.Helper()
	listener := serveNarrow(t, w)
	begun := make(chan struct{}, n)
	var reading sync.WaitGroup
	t.Cleanup(reading.Wait)
	for range n {
		c, err := listener.DialContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		reading.Go(func() { // the server has begun to answer
			if _, err := c.Read(make([]byte, 16)); err == nil {
				begun <- struct{}{}
			}
		})
	}
	for range n {
		<-begun
	}
}

// Clients that ask for all scores and do not read them keep nothing open in the store,
// and no turn: another client's read is answered.
func TestSlowReadersKeepNothingOpen(t *testing.T) {
	t.Parallel()
	w, r := boundsWorld(t, query.Bounds{})
	slowReaders(t, w, 20, "/scores")
	testwait.Poll(t, "no walk is open", func() error {
		if n := r.open.Load(); n > 0 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	if got := gatewaytest.Lines[struct{ Score string }](t, gatewaytest.Get(t, w, "/scores?format=ndjson&to=3", http.StatusOK)); len(got) != 3001 {
		t.Errorf("%d rows", len(got))
	}
}

// Reads beyond those that may be under way are refused after a while, by both APIs, with
// what to do; and taken again when one has ended.
func TestTooManyReads(t *testing.T) {
	t.Parallel()
	w, _ := boundsWorld(t, query.Bounds{Reads: 2, ReadsEach: 1, Wait: 10 * time.Millisecond})
	slowReaders(t, w, 1, "/scores") // of the client bufconn
	reading, stop := context.WithCancel(t.Context())
	held := make(chan struct{})
	var reads sync.WaitGroup
	defer reads.Wait()
	defer stop()
	reads.Go(func() {
		ctx := query.WithClient(reading, "another")
		_ = w.Gateway.Reads().Scores(ctx, query.ScoreQuery{Window: windowOf(t, w)}, func(*query.Row) error {
			close(held)
			<-ctx.Done()
			return ctx.Err()
		})
	})
	<-held
	resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+"/scores", "")
	if p := gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || !strings.Contains(p.Detail, "ask again later") {
		t.Errorf("%d, %v, %s", resp.StatusCode, resp.Header, body)
	}
	for name, read := range map[string]func() error{
		"Scores": func() error {
			_, err := gatewaytest.Received(w.Query().Scores(t.Context(), &holdpb.ScoresRequest{}))
			return err
		},
		"Explain": func() error {
			_, err := gatewaytest.Received(w.Query().Explain(t.Context(), &holdpb.ExplainRequest{HolderId: "alice"}))
			return err
		},
		"History": func() error {
			_, err := gatewaytest.Received(w.Query().History(t.Context(), &holdpb.HistoryRequest{HolderId: "alice"}))
			return err
		},
	} {
		if err := read(); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "ask again later") {
			t.Errorf("%s: %v", name, err)
		}
	}
	gatewaytest.Get(t, w, "/stats/alice", http.StatusOK) // is no long read
	stop()
	reads.Wait()
	gatewaytest.Get(t, w, "/scores", http.StatusOK)
}

func windowOf(t *testing.T, w *gatewaytest.World) query.Window {
	t.Helper()
	window, err := w.Gateway.Reads().Window(query.Times{})
	if err != nil {
		t.Error(err)
	}
	return window
}

// A history that needs too many readings is refused with what to ask for.
func TestCostlyHistory(t *testing.T) {
	t.Parallel()
	w, _ := boundsWorld(t, query.Bounds{HistoryCost: 60})
	gatewaytest.Get(t, w, "/stats/alice/history?token=token-3&points=50", http.StatusOK)
	resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+"/stats/alice/history?from=1&points=50", "")
	if p := gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != http.StatusUnprocessableEntity || len(p.Errors) != 1 || p.Errors[0].Location != "query.points" || !strings.Contains(p.Detail, "fewer points") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	_, err := gatewaytest.Received(w.Query().History(t.Context(), &holdpb.HistoryRequest{HolderId: "alice", Points: 50}))
	if status.Code(err) != codes.InvalidArgument || gatewaytest.Violated(err) != "points" {
		t.Errorf("by gRPC: %v", err)
	}
}

// Rankings of new tokens that are asked for at once share walks over the store; those of
// clients that go are not made.
func TestRankingsOfManyTokensShareWalks(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	w, r := boundsWorld(t, query.Bounds{}, func(r *walkedReader) { r.hold = hold })
	top := func(ctx context.Context, client string, i int) error {
		page, err := w.Gateway.Reads().Top(query.WithClient(ctx, client), query.TopQuery{By: query.BySettled, Token: fmt.Sprint("token-", i)})
		if err == nil && (page.Count != 1 || page.Holders[0].Settled.Score.String() != fmt.Sprint(1+i)) {
			err = fmt.Errorf("token %d: %+v", i, page)
		}
		return err
	}
	var asking sync.WaitGroup
	errs := make(chan error, 64)
	ask := func(ctx context.Context, client string, i int) {
		asking.Go(func() { errs <- top(ctx, client, i) })
	}
	ask(t.Context(), "first", 0)
	testwait.Poll(t, "the first walk is under way", func() error {
		if r.open.Load() == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	gone, leave := context.WithCancel(t.Context())
	waiting := func(n int) {
		testwait.Poll(t, "all have asked", func() error {
			if got := w.Gateway.Reads().Active().Asked(); got != n {
				return fmt.Errorf("%d wait, want %d", got, n)
			}
			return nil
		})
	}
	for i := range 10 {
		ask(t.Context(), "second", 1+i)
		ask(gone, "third", 20+i)
	}
	waiting(20)
	ask(t.Context(), "fourth", 35)
	waiting(21)
	leave()
	waiting(11)
	close(hold)
	asking.Wait()
	canceled := 0
	for range 22 {
		if err := <-errs; errors.Is(err, context.Canceled) {
			canceled++
		} else if err != nil {
			t.Error(err)
		}
	}
	// One of the first, two of eight at most.
	if walks := r.all.Load() / int64(w.Cfg.Log.Partitions()); canceled != 10 || walks != 3 {
		t.Errorf("%d canceled, %d walks", canceled, walks)
	}
}

// One client cannot have more boards made at once than its share, and a walk that nobody
// waits for ends.
func TestTooManyRankings(t *testing.T) {
	t.Parallel()
	w, r := boundsWorld(t, query.Bounds{}, func(r *walkedReader) { r.hold = make(chan struct{}) })
	gone, leave := context.WithCancel(query.WithClient(t.Context(), "greedy"))
	var asking sync.WaitGroup
	var crowded, canceled atomic.Int64
	for i := range 90 {
		asking.Go(func() {
			_, err := w.Gateway.Reads().Top(gone, query.TopQuery{By: query.BySettled, Token: fmt.Sprint("token-", i)})
			switch {
			case errors.Is(err, query.ErrCrowded):
				crowded.Add(1)
			case errors.Is(err, context.Canceled):
				canceled.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	testwait.Poll(t, "those beyond its share are refused", func() error {
		// At most one walk of eight is under way, and 64 wait.
		if n := crowded.Load(); n < 90-64-8 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	leave()
	asking.Wait()
	if crowded.Load()+canceled.Load() != 90 {
		t.Errorf("%d refused, %d canceled", crowded.Load(), canceled.Load())
	}
	testwait.Poll(t, "the walk ends", func() error {
		if n := r.open.Load(); n > 0 {
			return fmt.Errorf("%d partitions are walked", n)
		}
		return nil
	})
}

// Watches and names beyond what may be watched are refused by both APIs, with what to do,
// and taken again when others have ended.
func TestTooMuchIsWatched(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Watching = watch.Bounds{Watches: 3, WatchesEach: 2, Names: 10, NamesEach: 6}
	})
	names := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprint("unknown-", i))
		}
		return names
	}
	open := func(n int) context.CancelFunc {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := w.Metrics().Stats(ctx, &holdpb.StatsRequest{Watch: true, HolderIds: names(n)})
		if err == nil {
			_, err = stream.Recv() // the mark
		}
		if err != nil {
			t.Fatal(err)
		}
		return cancel
	}
	refused := func(n int, hint string) {
		t.Helper()
		_, err := gatewaytest.Received(w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{Watch: true, HolderIds: names(n)}))
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), hint) {
			t.Errorf("%d names: %v", n, err)
		}
	}
	refused(7, "its share is 6")
	end := open(4)
	refused(3, "its share is 6")
	open(2)
	refused(0, "this client has 2 watches open")
	// Another client, by HTTP.
	resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+"/stats/watch?holders="+strings.Join(names(5), ","), "")
	if p := gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || !strings.Contains(p.Detail, "this server takes 10") {
		t.Errorf("%d, %v, %s", resp.StatusCode, resp.Header, body)
	}
	end()
	testwait.Poll(t, "the watch has ended", func() error {
		if n := w.Gateway.Watches().Count(); n != 1 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
	open(4)
}
