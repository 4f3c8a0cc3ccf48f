package auth

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is what a principal proved who it is with.
type Kind string

// The kinds of principals.
const (
	Key         Kind = "key"
	JWT         Kind = "jwt"
	Certificate Kind = "certificate"
	Anonymous   Kind = "anonymous"
)

// Principal is somebody who calls. It does not change once it is made.
type Principal struct {
	Kind    Kind
	Name    string // for people: of a key its name, of a JWT its subject, of a certificate its name
	ID      string // of a key: its id; else empty
	Scopes  Scope
	Tokens  *Names // that it is narrowed to; nil: it is not
	Holders *Names // the same
	Expires int64  // unix nanoseconds; 0: never

	// Session ends when the principal is believed no more; nil: it never does.
	Session *Session
	// Usage is what the quotas of the principal count; nil: there are none.
	Usage *Usage
}

// anonymous is who gave no credentials. Nothing is narrower.
var anonymous = &Principal{Kind: Anonymous, Tokens: &Names{}, Holders: &Names{}}

// Narrowed reports whether the principal may not see every token and holder.
func (p *Principal) Narrowed() bool { return p.Tokens != nil || p.Holders != nil }

// String names the principal in a log: kind:name, and the id of a key.
func (p *Principal) String() string {
	switch {
	case p.Kind == Anonymous:
		return string(Anonymous)
	case p.ID != "":
		return string(p.Kind) + ":" + p.Name + " (" + p.ID + ")"
	}
	return string(p.Kind) + ":" + p.Name
}

// err returns why the principal is believed no more, or nil.
func (p *Principal) err(now int64) error {
	if p.Expires != 0 && now >= p.Expires {
		return refusal(Expired, "the %s has expired", p.word())
	}
	return p.Session.Err()
}

// word is what the principal gave, in a message.
func (p *Principal) word() string {
	switch p.Kind {
	case JWT:
		return "token"
	case Certificate:
		return "client certificate"
	}
	return "key"
}

// Session is the time in which a principal is believed. It is safe for concurrent use. A
// nil *Session never ends.
type Session struct {
	over atomic.Pointer[error] // nil: it goes on

	mu   sync.Mutex
	ends map[*context.CancelCauseFunc]struct{}
}

// End ends the session: streams that are open are cancelled with err.
func (s *Session) End(err error) {
	s.mu.Lock()
	ends := s.ends
	s.ends = nil
	first := s.over.CompareAndSwap(nil, &err)
	s.mu.Unlock()
	if !first {
		return
	}
	for end := range ends {
		(*end)(err)
	}
}

// Err returns why the session is over, or nil.
func (s *Session) Err() error {
	if s == nil {
		return nil
	}
	if err := s.over.Load(); err != nil {
		return *err
	}
	return nil
}

// bind cancels with the session's end, until release is called.
func (s *Session) bind(cancel context.CancelCauseFunc) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.over.Load(); err != nil {
		cancel(*err)
		return func() {}
	}
	if s.ends == nil {
		s.ends = map[*context.CancelCauseFunc]struct{}{}
	}
	key := &cancel
	s.ends[key] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ends, key)
	}
}

// bind returns a context that ends when the principal is believed no more. Call release
// when the request is over.
func (p *Principal) bind(ctx context.Context, now int64) (bound context.Context, release func()) {
	release = func() {}
	if p.Expires != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(p.Expires-now), refusal(Expired, "the %s has expired", p.word()))
		release = cancel
	}
	if p.Session == nil {
		return ctx, release
	}
	ctx, cancel := context.WithCancelCause(ctx)
	unbind, former := p.Session.bind(cancel), release
	return ctx, func() {
		unbind()
		cancel(nil)
		former()
	}
}
