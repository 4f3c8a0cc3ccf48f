package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdpb "holdmetrics/proto"
)

const (
	dayBatch   = 10
	dayTrickle = 50 * time.Millisecond
	dayCall    = 5 * time.Second
)

// dayLoad is the producer of a bad day. It sends batch after batch, each until it is
// acknowledged.
type dayLoad struct {
	crowd  *crowd
	client holdpb.HoldMetricsClient
	cancel context.CancelFunc
	done   sync.WaitGroup
	wanted atomic.Int64
	rouse  chan struct{}

	mu       sync.Mutex
	moved    chan struct{} // closed and replaced when something was acknowledged or refused
	acked    []*holdpb.HoldMsg
	position uint64 // of the log, that has all that was acknowledged
	lastErr  error  // of the batch that is being sent
	tries    int
	idle     bool // nothing is on its way
	paused   bool
}

func newDayLoad(d *day) *dayLoad {
	ctx, cancel := context.WithCancel(context.Background())
	l := &dayLoad{
		crowd: newCrowd("a", d.seed, 1), client: holdpb.NewHoldMetricsClient(dial(d.t, d.srv.grpc)), cancel: cancel,
		rouse: make(chan struct{}, 1), moved: make(chan struct{}), idle: true,
	}
	l.done.Go(func() { l.run(ctx) })
	return l
}

func (l *dayLoad) run(ctx context.Context) {
	trickle := false // it is time for a batch that nobody asked for
	for ctx.Err() == nil {
		l.mu.Lock()
		idle := l.paused || int64(len(l.acked)) >= l.wanted.Load() && !trickle
		l.idle = idle
		l.mu.Unlock()
		if idle {
			trickle = false
			select {
			case <-ctx.Done():
				return
			case <-l.rouse:
			case <-time.After(dayTrickle):
				trickle = true
			}
			continue
		}
		trickle = false
		batch := l.crowd.batch(dayBatch)
		for {
			position, err := l.send(ctx, batch)
			if ctx.Err() != nil {
				return
			}
			l.set(func() {
				if l.lastErr = err; err == nil {
					l.acked, l.position, l.idle = append(l.acked, batch...), max(l.position, position), true
				}
				l.tries++
			})
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(dayTrickle):
			}
		}
	}
}

func (l *dayLoad) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.moved)
	l.moved = make(chan struct{})
}

// send sends a batch, and returns an error unless all of it is acknowledged.
func (l *dayLoad) send(ctx context.Context, batch []*holdpb.HoldMsg) (position uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, dayCall)
	defer cancel()
	stream, err := l.client.BroadcastBatch(ctx, grpc.WaitForReady(true))
	if err != nil {
		return 0, err
	}
	if err := stream.Send(&holdpb.HoldBatch{Events: batch}); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	ack, err := stream.Recv()
	if err != nil {
		return 0, err
	}
	_ = stream.CloseSend()
	if len(ack.Refused) > 0 {
		return 0, fmt.Errorf("refused: %s", ack.Refused[0].Error)
	}
	return ack.Position, nil
}

// await waits until is holds, which is asked with mu held, for as long as within.
func (l *dayLoad) await(within time.Duration, is func() bool) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		l.mu.Lock()
		ok, moved := is(), l.moved
		l.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-moved:
		case <-late.C:
			return false
		}
	}
}

// more has n more events recorded.
func (l *dayLoad) more(n int) error {
	l.mu.Lock()
	want := len(l.acked) + n
	l.mu.Unlock()
	l.wanted.Store(int64(want))
	l.wake()
	if !l.await(dayStart, func() bool { return len(l.acked) >= want }) {
		return fmt.Errorf("no event is acknowledged in 4 minutes: %w", l.err())
	}
	return nil
}

func (l *dayLoad) wake() {
	select {
	case l.rouse <- struct{}{}:
	default:
	}
}

func (l *dayLoad) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastErr
}

// pause lets nothing new be sent, and waits until the last batch is acknowledged.
func (l *dayLoad) pause(within time.Duration) bool {
	l.set(func() { l.paused = true })
	return l.await(within, func() bool { return l.idle })
}

func (l *dayLoad) resume() {
	l.set(func() { l.paused = false })
	l.wake()
}

// tried waits until a few more batches were sent, with whichever result.
func (l *dayLoad) tried(times int, within time.Duration) {
	l.mu.Lock()
	from := l.tries
	l.mu.Unlock()
	l.await(within, func() bool { return l.tries >= from+times })
}

func (l *dayLoad) stop() {
	l.cancel()
	l.done.Wait()
}

// dayReader reads through a bad day. While the server says that it is ready, no holder
// may be missing that it has shown before.
type dayReader struct {
	d      *day
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	seen   map[string]bool
	wrong  string
	client *http.Client
}

func newDayReader(d *day) *dayReader {
	ctx, cancel := context.WithCancel(context.Background())
	r := &dayReader{d: d, cancel: cancel, seen: map[string]bool{}, client: &http.Client{Timeout: dayCall, Transport: &http.Transport{}}}
	draws := rand.New(rand.NewPCG(d.seed, 2))
	r.done.Go(func() {
		for ctx.Err() == nil {
			r.look(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(20+draws.IntN(200)) * time.Millisecond):
			}
		}
	})
	return r
}

func (r *dayReader) look(ctx context.Context) {
	var rows []struct {
		Holder string `json:"holder_id"`
	}
	if r.get(ctx, "/readyz", nil) != nil || r.get(ctx, "/stats", &rows) != nil || r.get(ctx, "/readyz", nil) != nil {
		return
	}
	have := map[string]bool{}
	for _, row := range rows {
		have[row.Holder] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for holder := range r.seen {
		if !have[holder] && r.wrong == "" {
			r.wrong = fmt.Sprintf("%s: holder %q is missing from /stats (%d holders), and the server says that it is ready", ms(time.Since(r.d.began)), holder, len(rows))
		}
	}
	for holder := range have {
		r.seen[holder] = true
	}
}

// get reads a page; the error has what the server answered.
func (r *dayReader) get(ctx context.Context, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.d.srv.http+path, nil)
	if err != nil {
		return err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return &answerError{path, response.StatusCode, strings.TrimSpace(string(body))}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}

// answerError is an answer that is not 200.
type answerError struct {
	path   string
	status int
	text   string
}

func (e *answerError) Error() string { return fmt.Sprintf("%s: %d: %s", e.path, e.status, e.text) }

func (r *dayReader) complaint() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}

func (r *dayReader) stop() {
	r.cancel()
	r.done.Wait()
	r.client.CloseIdleConnections()
}

// away reports whether a call failed because the server is down or slow, which says
// nothing of its figures.
func away(err error) bool {
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Unavailable, codes.Canceled:
		return true
	}
	return false
}
