// Package responder answers NATS requests: how many are answered together is bounded,
// each answer has a time limit, and Stop waits for the last of them within a limit.
package responder

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrRunning is the error of a stop that ended while requests were worked on.
var ErrRunning = errors.New("requests are still worked on")

// Options bounds a responder. The zero value bounds nothing.
type Options struct {
	// AtOnce is how many requests are worked on together. A request beyond gets no
	// answer, so that its sender repeats it. 0: any number.
	AtOnce int
	// Within is the time limit of one answer. 0: until Stop.
	Within time.Duration
}

// Handler looks at a request and returns the work of answering it. It returns nil if
// this process does not answer it, or has answered it already. It is called by one
// goroutine at a time, and must not block.
//
// The work runs in a goroutine of its own. Its context ends after [Options.Within], and
// when the responder is stopped.
type Handler func(m *nats.Msg) (work func(ctx context.Context))

// Responder is a subscription whose requests are answered.
type Responder struct {
	subject string
	sub     *nats.Subscription
	cancel  context.CancelFunc
	closed  chan struct{} // the subscription has handed out its last request

	mu   sync.Mutex
	work int           // requests that are worked on
	idle chan struct{} // closed when there are none; nil: nobody waits
}

// Start subscribes to subject, which may have wildcards, and answers until Stop.
func Start(conn *nats.Conn, subject string, o Options, handle Handler) (*Responder, error) {
	r := &Responder{subject: subject, closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	var slots chan struct{}
	if o.AtOnce > 0 {
		slots = make(chan struct{}, o.AtOnce)
	}
	sub, err := conn.Subscribe(subject, func(m *nats.Msg) {
		work := handle(m)
		if work == nil {
			return
		}
		if slots != nil {
			select {
			case slots <- struct{}{}:
			default:
				return
			}
		}
		r.count(1)
		go func() {
			defer r.count(-1)
			if slots != nil {
				defer func() { <-slots }()
			}
			within, done := ctx, context.CancelFunc(func() {})
			if o.Within > 0 {
				within, done = context.WithTimeout(ctx, o.Within)
			}
			defer done()
			work(within)
		}()
	})
	if err != nil {
		cancel()
		return nil, err
	}
	sub.SetClosedHandler(func(string) { close(r.closed) })
	r.sub = sub
	return r, nil
}

func (r *Responder) count(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.work += n; r.work == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// Stop ends the subscription and the context of all work, and waits for the work. If ctx
// ends first, the error wraps [ErrRunning] and says how much is left, which ends by
// itself. A second Stop waits likewise.
func (r *Responder) Stop(ctx context.Context) error {
	r.cancel()
	if r.sub.Unsubscribe() == nil { // else the connection is closed, and no request comes
		select {
		case <-r.closed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: one is looked at: %w", r.subject, ErrRunning, context.Cause(ctx))
		}
	}
	r.mu.Lock()
	if r.work == 0 {
		r.mu.Unlock()
		return nil
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.work == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w: %d of them: %w", r.subject, ErrRunning, r.work, context.Cause(ctx))
}
