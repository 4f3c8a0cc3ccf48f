// Package responder answers NATS requests: how many are answered together is bounded,
// each answer has a time limit, and Stop waits for the last of them.
package responder

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

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
	sub    *nats.Subscription
	cancel context.CancelFunc
	closed chan struct{} // the subscription has handed out its last request
	work   sync.WaitGroup
}

// Start subscribes to subject, which may have wildcards, and answers until Stop.
func Start(conn *nats.Conn, subject string, o Options, handle Handler) (*Responder, error) {
	r := &Responder{closed: make(chan struct{})}
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
		r.work.Go(func() {
			if slots != nil {
				defer func() { <-slots }()
			}
			within, done := ctx, context.CancelFunc(func() {})
			if o.Within > 0 {
				within, done = context.WithTimeout(ctx, o.Within)
			}
			defer done()
			work(within)
		})
	})
	if err != nil {
		cancel()
		return nil, err
	}
	sub.SetClosedHandler(func(string) { close(r.closed) })
	r.sub = sub
	return r, nil
}

// Stop ends the subscription and the context of all work, and waits for the work. It
// must be called once.
func (r *Responder) Stop() {
	r.cancel()
	if r.sub.Unsubscribe() == nil { // else the connection is closed, and no request comes
		<-r.closed
	}
	r.work.Wait()
}
