package keys

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/gateway/auth"
	"holdmetrics/internal/backoff"
	"holdmetrics/internal/kvwatch"
)

// How a set stays true.
//
// It watches the bucket, so a change is in force as soon as the broker tells of it. A watch
// may fall silent, so the set also asks how far the bucket is, twice a second: a set that
// lacks something reads the bucket again. After StaleAfter without such an answer that
// shows nothing new, nobody can say which keys were revoked. All are refused then, and
// their streams end.

const (
	// DefaultCheck is how often the set asks how far the bucket is.
	DefaultCheck = 500 * time.Millisecond
	// DefaultStaleAfter is how long keys are believed that cannot be checked.
	DefaultStaleAfter = 15 * time.Second
	// usesEvery is how often the last uses of keys are written.
	usesEvery = time.Minute
	// requestLimit bounds a request to the broker.
	requestLimit = 2 * time.Second
	pauseFirst   = 100 * time.Millisecond
	pauseMost    = 2 * time.Second
	// mismatches is how many answers in a row may show more than the watch has told of.
	mismatches = 2
)

// SetConfig is what a [Set] is made of.
type SetConfig struct {
	JS     jetstream.JetStream
	Now    func() int64 // unix nanoseconds
	Logger *zap.Logger

	Check      time.Duration // 0: DefaultCheck
	StaleAfter time.Duration // 0: DefaultStaleAfter
	UsesEvery  time.Duration // 0: a minute
}

// Set is the keys as a gateway knows them. It implements [auth.Keys]. It is safe for
// concurrent use.
type Set struct {
	cfg   SetConfig
	keys  atomic.Pointer[map[string]*entry] // by id; nil: nothing is known
	fresh atomic.Int64                      // when it was known last that nothing is missing

	loaded chan struct{} // closed when the keys are known for the first time
	once   sync.Once

	// What follows belongs to the goroutine of Run.
	stale bool // the sessions have ended, because of that
}

// entry is a key of a set.
type entry struct {
	revision  uint64
	record    *Record // nil: it cannot be used
	err       error   // why
	principal *auth.Principal
	used      atomic.Int64 // last use, unix nanoseconds
	written   int64        // of the last use that was written
}

// use is when a key was used last, in the bucket.
type use struct {
	At time.Time `json:"at"`
}

// NewSet returns a set that knows nothing before Run.
func NewSet(cfg SetConfig) *Set {
	if cfg.Check <= 0 {
		cfg.Check = DefaultCheck
	}
	if cfg.StaleAfter <= 0 {
		cfg.StaleAfter = DefaultStaleAfter
	}
	if cfg.UsesEvery <= 0 {
		cfg.UsesEvery = usesEvery
	}
	return &Set{cfg: cfg, loaded: make(chan struct{})}
}

// Wait returns when the keys are known for the first time.
func (s *Set) Wait(ctx context.Context) error {
	select {
	case <-s.loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("keys: read the bucket %s: %w", Bucket, context.Cause(ctx))
	}
}

// invalid is what a caller learns of a key that is wrong, whatever is wrong with it.
const invalid = "the key is not valid: it is wrong, or it was revoked"

// unchecked is the refusal of keys that cannot be checked.
func unchecked(detail string) *auth.RefusedError {
	return auth.Rejected(auth.Unchecked, "keys cannot be checked now: try again later", detail)
}

// nobody has the hash of no secret, so that an unknown id takes as long as a wrong secret.
var nobody = &Record{Salt: make([]byte, saltBytes), Hash: make([]byte, 32)}

// Principal implements [auth.Keys].
func (s *Set) Principal(key string) (*auth.Principal, error) {
	keys, now := s.keys.Load(), s.cfg.Now()
	if keys == nil {
		return nil, unchecked("the bucket was not read yet")
	}
	if away := time.Duration(now - s.fresh.Load()); away > s.cfg.StaleAfter {
		return nil, unchecked(fmt.Sprintf("the bucket %s was not heard of for %v", Bucket, away.Round(time.Second)))
	}
	id, secret, ok := cut(key)
	e := (*keys)[id]
	record := nobody
	if ok && e != nil && e.record != nil && e.record.Revoked == nil {
		record = e.record
	}
	same := subtle.ConstantTimeCompare(hashOf(record.Salt, secret), record.Hash) == 1
	switch {
	case !ok:
		return nil, auth.Rejected(auth.Invalid, invalid, "it is not written as a key is")
	case e == nil:
		return nil, auth.Rejected(auth.Invalid, invalid, fmt.Sprintf("there is no key %s", id))
	case e.err != nil:
		return nil, auth.Rejected(auth.Invalid, invalid, fmt.Sprintf("key %s: %v", id, e.err))
	case e.record.Revoked != nil:
		return nil, auth.Rejected(auth.Invalid, invalid, fmt.Sprintf("key %s (%s) was revoked", id, e.record.Name))
	case !same:
		return nil, auth.Rejected(auth.Invalid, invalid, fmt.Sprintf("the secret is not that of key %s (%s)", id, e.record.Name))
	}
	if e.used.Load() < now-int64(time.Second) { // else all requests of a key would write to one place
		e.used.Store(now)
	}
	return e.principal, nil
}

// Run keeps the set up to date until ctx ends. Its error is always nil.
func (s *Set) Run(ctx context.Context) error {
	pauses := backoff.Backoff{First: pauseFirst, Most: pauseMost}
	for ctx.Err() == nil {
		began := time.Now()
		err := s.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		s.cfg.Logger.Debug("the keys are read again", zap.Error(err))
		if time.Since(began) > pauseMost {
			pauses.Reset()
		}
		s.endIfStale()
		_ = pauses.Wait(ctx) // the loop looks at ctx
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestLimit)
	defer cancel()
	s.writeUses(last)
	return nil
}

// errBehind: the watch has not told of something that the bucket has.
var errBehind = errors.New("the watch of the keys is silent")

// follow reads the bucket, and takes over changes until something is wrong.
func (s *Set) follow(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	stream, err := s.cfg.JS.Stream(opening, "KV_"+Bucket)
	if err != nil {
		return err
	}
	kv, err := s.cfg.JS.KeyValue(opening, Bucket)
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	w, err := kv.WatchAll(watching)
	if err != nil {
		return err
	}
	defer kvwatch.End(w, requestLimit)
	f := &follower{s: s, stream: stream, created: stream.CachedInfo().Created, keys: map[string]*entry{}, revisions: map[string]uint64{}, began: s.cfg.Now()}
	check, uses := time.NewTicker(s.cfg.Check), time.NewTicker(s.cfg.UsesEvery)
	defer check.Stop()
	defer uses.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case update, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("the watch of the keys has ended")
			case update == nil:
				f.complete()
			default:
				f.take(update)
			}
		case <-check.C:
			if err := f.check(ctx); err != nil {
				return err
			}
			s.endIfStale()
		case <-uses.C:
			s.writeUses(ctx)
		}
	}
}

// follower takes over what one watch tells.
type follower struct {
	s       *Set
	stream  jetstream.Stream
	created time.Time // of the stream
	began   int64

	keys      map[string]*entry
	revisions map[string]uint64 // of all that the bucket has, by its key there
	last      uint64            // greatest revision
	whole     bool              // everything is there that the bucket had at first
	behind    int               // checks in a row that have found something missing
}

// take takes over one change.
func (f *follower) take(u jetstream.KeyValueEntry) {
	f.last = max(f.last, u.Revision())
	f.revisions[u.Key()] = u.Revision()
	id, ok := strings.CutPrefix(u.Key(), recordPrefix)
	if !ok {
		return
	}
	if u.Operation() != jetstream.KeyValuePut {
		delete(f.keys, id)
	} else {
		f.keys[id] = f.s.entryOf(id, u.Revision(), u.Value())
	}
	if f.whole {
		f.s.publish(f.keys)
	}
}

// complete publishes what was there at first.
func (f *follower) complete() {
	f.whole = true
	f.s.publish(f.keys)
	f.s.fresh.Store(max(f.s.fresh.Load(), f.began))
	f.s.once.Do(func() { close(f.s.loaded) })
}

// check asks how far the bucket is, and returns an error if the watch lacks something.
func (f *follower) check(ctx context.Context) error {
	if !f.whole {
		if f.behind++; time.Duration(f.behind)*f.s.cfg.Check > requestLimit {
			return errBehind
		}
		return nil
	}
	asked := f.s.cfg.Now()
	within, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	info, err := f.stream.Info(within)
	switch {
	case err != nil:
		return err
	case !info.Created.Equal(f.created):
		return errBehind // it is another bucket
	case info.State.LastSeq == f.last && info.State.Msgs == uint64(len(f.revisions)), info.State.LastSeq == 0 && f.last == 0:
		f.behind = 0
		f.s.fresh.Store(asked)
		return nil
	}
	if f.behind++; f.behind >= mismatches {
		return errBehind
	}
	return nil
}

// entryOf returns the entry of a record, which is the one that there is if the record is the
// same.
func (s *Set) entryOf(id string, revision uint64, value []byte) *entry {
	var former *entry
	if keys := s.keys.Load(); keys != nil {
		former = (*keys)[id]
	}
	if former != nil && former.revision == revision {
		return former
	}
	e := &entry{revision: revision}
	if e.record, e.err = decode(id, value); e.err != nil {
		s.cfg.Logger.Warn("a key is refused: its record in the bucket HOLD_KEYS cannot be used; revoke it", zap.String("key", id), zap.Error(e.err))
		return e
	}
	e.principal = e.record.principal()
	e.principal.Usage = auth.NewUsage(e.record.Quotas, s.cfg.Now)
	if former != nil && former.record != nil && former.record.Quotas == e.record.Quotas {
		e.principal.Usage = former.principal.Usage
	}
	return e
}

// publish exchanges the keys, and ends the sessions of those that have changed.
func (s *Set) publish(keys map[string]*entry) {
	next := make(map[string]*entry, len(keys))
	for id, e := range keys {
		next[id] = e
	}
	former := s.keys.Swap(&next)
	if former == nil {
		return
	}
	for id, e := range *former {
		if next[id] != e && e.principal != nil {
			e.principal.Session.End(auth.Rejected(auth.Invalid, "the key was revoked or changed", fmt.Sprintf("key %s (%s)", id, e.record.Name)))
		}
	}
}

// endIfStale ends all sessions once keys are refused because they cannot be checked. They
// begin again with other entries.
func (s *Set) endIfStale() {
	keys := s.keys.Load()
	if keys == nil || time.Duration(s.cfg.Now()-s.fresh.Load()) <= s.cfg.StaleAfter {
		s.stale = false
		return
	}
	if s.stale {
		return
	}
	s.stale = true
	s.cfg.Logger.Warn("the bucket of the keys was not heard of for too long: all keys are refused until it answers", zap.Duration("limit", s.cfg.StaleAfter))
	next := make(map[string]*entry, len(*keys))
	for id, e := range *keys {
		next[id] = e
		if e.principal == nil {
			continue
		}
		e.principal.Session.End(unchecked("the bucket " + Bucket + " was not heard of for too long"))
		again := &entry{revision: e.revision, record: e.record, principal: e.record.principal(), written: e.written}
		again.principal.Usage = e.principal.Usage
		again.used.Store(e.used.Load())
		next[id] = again
	}
	s.keys.Store(&next)
}

// writeUses writes when keys were used last.
func (s *Set) writeUses(ctx context.Context) {
	keys := s.keys.Load()
	if keys == nil {
		return
	}
	for id, e := range *keys {
		at := e.used.Load()
		if at == e.written || e.record == nil {
			continue
		}
		value, err := json.Marshal(use{At: time.Unix(0, at).UTC()})
		if err == nil {
			within, cancel := context.WithTimeout(ctx, requestLimit)
			_, err = s.cfg.JS.Publish(within, "$KV."+Bucket+"."+usedPrefix+id, value)
			cancel()
		}
		if err != nil {
			s.cfg.Logger.Debug("cannot write the last uses of keys", zap.Error(err))
			return // the next time
		}
		e.written = at
	}
}
