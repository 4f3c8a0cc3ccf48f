package auditlog

import (
	"cmp"
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/gateway/auth"
	"holdmetrics/internal/backoff"
)

const (
	DefaultSoon  = time.Second      // how long refusals are collected before they are written
	DefaultEvery = 10 * time.Second // the least time between two writes
	// mostAtOnce is how many entries one write has. What does not fit is counted together.
	mostAtOnce = 20
	// mostKinds is how many kinds of refusals are counted apart until they are written.
	mostKinds = 1000
	// writeLimit bounds a write.
	writeLimit = 3 * time.Second
)

// RecorderConfig is what a [Recorder] is made of.
type RecorderConfig struct {
	Conn   *nats.Conn
	JS     jetstream.JetStream
	Logger *zap.Logger
	Now    func() int64  // unix nanoseconds
	Soon   time.Duration // 0: DefaultSoon
	Every  time.Duration // 0: DefaultEvery
}

// Recorder writes refusals into the stream and into the log of the process, and has the log
// tell of the acts of operators. It implements [auth.Observer]. It is safe for concurrent
// use.
type Recorder struct {
	cfg  RecorderConfig
	wake chan struct{}

	mu    sync.Mutex
	alike map[alike]*refusals
	other uint64 // refusals of kinds that are too many to be counted apart
}

// alike is what refusals that are counted together have in common.
type alike struct {
	who, from, call string
	reason          auth.Reason
}

// refusals are those of one kind.
type refusals struct {
	count       uint64
	first, last int64
	message     string // of the last
}

// NewRecorder returns a recorder that writes nothing before Run.
func NewRecorder(cfg RecorderConfig) *Recorder {
	cfg.Soon, cfg.Every = cmp.Or(cfg.Soon, DefaultSoon), cmp.Or(cfg.Every, DefaultEvery)
	return &Recorder{cfg: cfg, wake: make(chan struct{}, 1), alike: map[alike]*refusals{}}
}

// Refused implements [auth.Observer].
func (r *Recorder) Refused(f auth.Refusal) {
	from := f.From
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host // each connection has another port
	}
	key, now := alike{f.Principal.String(), from, f.Call, f.Reason}, r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.alike[key]
	switch {
	case of == nil && len(r.alike) >= mostKinds:
		r.other++
	case of == nil:
		r.alike[key] = &refusals{1, now, now, f.Message}
	default:
		of.count, of.last, of.message = of.count+1, now, f.Message
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends, and what is left then. Its error is always nil.
func (r *Recorder) Run(ctx context.Context) error {
	acts, err := r.cfg.Conn.Subscribe(actSubject, r.logAct)
	if err != nil {
		r.cfg.Logger.Debug("the acts of operators are not logged here", zap.Error(err))
	} else {
		defer acts.Unsubscribe() //nolint:errcheck // the connection is closed
	}
	for {
		select {
		case <-ctx.Done():
		case <-r.wake:
			if backoff.Wait(ctx, r.cfg.Soon) == nil {
				r.flush(ctx)
				if backoff.Wait(ctx, r.cfg.Every) == nil {
					continue
				}
			}
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
		defer cancel()
		r.flush(last)
		return nil
	}
}

// logAct logs what an operator did.
func (r *Recorder) logAct(m *nats.Msg) {
	if e, err := decode(m.Data); err == nil {
		r.cfg.Logger.Warn("an operator acted", zap.String("who", e.Who), zap.String("from", e.From), zap.String("what", e.What), zap.String("outcome", e.Outcome), zap.String("detail", e.Detail))
	}
}

// take takes what was refused since the last call, the most frequent first.
func (r *Recorder) take() []Entry {
	r.mu.Lock()
	all, other := r.alike, r.other
	r.alike, r.other = map[alike]*refusals{}, 0
	r.mu.Unlock()
	var entries []Entry
	for key, of := range all {
		first := time.Unix(0, of.first).UTC()
		entries = append(entries, Entry{
			At: time.Unix(0, of.last).UTC(), Kind: Refusal, Who: key.who, From: key.from, What: key.call,
			Outcome: string(key.reason), Detail: of.message, Count: of.count, Since: &first,
		})
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), a.At.Compare(b.At), cmp.Compare(a.Who, b.Who), cmp.Compare(a.What, b.What))
	})
	if len(entries) > mostAtOnce {
		for _, e := range entries[mostAtOnce:] {
			other += e.Count
		}
		entries = entries[:mostAtOnce]
	}
	if other > 0 {
		entries = append(entries, Entry{At: time.Unix(0, r.cfg.Now()).UTC(), Kind: Refusal, Who: "others", What: "various", Outcome: "various", Detail: "too many kinds at once to tell them apart", Count: other})
	}
	return entries
}

// flush writes what was refused.
func (r *Recorder) flush(ctx context.Context) {
	for _, e := range r.take() {
		r.cfg.Logger.Warn("a request was refused", zap.String("who", clip(e.Who, maxShort)), zap.String("from", clip(e.From, maxShort)), zap.String("what", clip(e.What, maxLong)),
			zap.String("reason", e.Outcome), zap.String("detail", clip(e.Detail, maxLong)), zap.Uint64("count", e.Count))
		within, cancel := context.WithTimeout(ctx, writeLimit)
		if err := Write(within, r.cfg.JS, e); err != nil {
			r.cfg.Logger.Warn("a refusal is missing in the audit log", zap.Error(err))
		}
		cancel()
	}
}
