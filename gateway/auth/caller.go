package auth

import (
	"context"
	"errors"

	"holdmetrics/hold"
)

// Refusal is a refusal, as an [Observer] sees it.
type Refusal struct {
	Principal *Principal
	Reason    Reason
	Message   string // that the caller was given, and what else is known
	Call      string // method of gRPC or pattern of a path, from the table; "none" if it has none
	From      string // address of the caller
}

// Observer counts and records refusals. Its method must not block.
type Observer interface{ Refused(Refusal) }

// Caller is the principal of one request. It is safe for concurrent use. A nil *Caller may
// do everything: the request is of code in this process, or authentication is off.
type Caller struct {
	*Principal
	Call string
	From string

	now      func() int64
	observer Observer
}

// callerKey is where a context has its caller.
type callerKey struct{}

// WithCaller returns a context of requests of a caller.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller of a context, or nil if it has none.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}

// refuse reports a refusal and returns it.
func (c *Caller) refuse(e *RefusedError) error {
	message := e.Message
	if e.Detail != "" {
		message += ": " + e.Detail
	}
	c.observer.Refused(Refusal{Principal: c.Principal, Reason: e.Reason, Message: message, Call: c.Call, From: c.From})
	return e
}

// still returns a refusal if the caller is believed no more, or lacks a scope.
func (c *Caller) still(scope Scope) *RefusedError {
	if err := c.err(c.now()); err != nil {
		if e := (*RefusedError)(nil); errors.As(err, &e) {
			return e
		}
		return refusal(Invalid, "%v", err)
	}
	if !c.Scopes.Has(scope) {
		return lacking(c.Principal, scope)
	}
	return nil
}

// lacking is the refusal of a principal without a scope.
func lacking(p *Principal, scope Scope) *RefusedError {
	e := refusal(Scoped, "this %s has the scopes %s, and the call needs %s", p.word(), p.Scopes, scope)
	e.Scope = scope
	return e
}

// Narrowed reports whether the caller may not see every token and holder. What tells of
// the whole server is none of its business.
func (c *Caller) Narrowed() bool { return c != nil && c.Principal.Narrowed() }

// Sends counts events that the caller sends, and their bytes, before they are decoded. It
// returns a refusal if a quota is used up, or if the caller is believed no more.
func (c *Caller) Sends(events, bytes int) error {
	if c == nil {
		return nil
	}
	if e := c.still(Write); e != nil {
		return c.refuse(e)
	}
	if e := c.Usage.take(events, bytes); e != nil {
		return c.refuse(e)
	}
	return nil
}

// MayWrite returns a refusal unless the caller may send events of a pair. The refusal is a
// [*hold.FieldError], so that it concerns this event alone. Ids are compared as rules
// write them.
func (c *Caller) MayWrite(d *hold.Draft, rules hold.Rules) error {
	if c == nil || !c.Principal.Narrowed() {
		return nil
	}
	switch {
	case !c.Tokens.allow(d.Token, rules.Token):
		return c.outside("token_id")
	case !c.Holders.allow(d.Holder, rules.Holder):
		return c.outside("holder_id")
	}
	return nil
}

// outside is the refusal of an event because of an id.
func (c *Caller) outside(field string) error {
	e := refusal(Narrowed, "this %s may not send events of it", c.word())
	_ = c.refuse(e)
	return &hold.FieldError{Field: field, Err: e}
}

// Reading is what the answer of a read tells of.
type Reading struct {
	Token   string   // of this token alone; empty: of all tokens, or of sums over them
	Holders []string // of these holders alone; empty: of all
	// Compared: the answer has ranks, shares or sums over all holders.
	Compared bool
}

// MayRead returns a refusal unless the caller may see what an answer tells of. It decides
// by the question alone, so a refusal says nothing of what there is:
//
//   - Who is narrowed to tokens names one of them. What is summed over tokens is refused.
//   - Who is narrowed to holders names some of them. What compares holders is refused.
func (c *Caller) MayRead(r Reading, rules hold.Rules) error {
	if c == nil {
		return nil
	}
	if e := c.still(Read); e != nil {
		return c.refuse(e)
	}
	if c.Tokens != nil {
		if r.Token == "" {
			return c.refuse(refusal(Narrowed, "this %s may read some tokens only: ask for the figures of one of them", c.word()))
		}
		if !c.Tokens.allow(r.Token, rules.Token) {
			return c.refuse(refusal(Narrowed, "this %s may not read this token", c.word()))
		}
	}
	if c.Holders == nil {
		return nil
	}
	if r.Compared {
		return c.refuse(refusal(Narrowed, "this %s may read some holders only: ranks, shares and sums over all holders are not among that", c.word()))
	}
	if len(r.Holders) == 0 {
		return c.refuse(refusal(Narrowed, "this %s may read some holders only: name those that you ask for", c.word()))
	}
	for _, h := range r.Holders {
		if !c.Holders.allow(h, rules.Holder) {
			return c.refuse(refusal(Narrowed, "this %s may not read one of these holders", c.word()))
		}
	}
	return nil
}

// MayReadAll returns a refusal unless the caller may see what is of all tokens and holders,
// such as the status; what names it.
func (c *Caller) MayReadAll(what string) error {
	if c == nil {
		return nil
	}
	if e := c.still(Read); e != nil {
		return c.refuse(e)
	}
	if c.Principal.Narrowed() {
		return c.refuse(refusal(Narrowed, "this %s may read some tokens or holders only: %s is of all", c.word(), what))
	}
	return nil
}

// OpenStream counts a stream of the caller until closed is called, and returns a context
// that ends when the caller is believed no more.
func (c *Caller) OpenStream(ctx context.Context) (bound context.Context, closed func(), err error) {
	done, refused := c.Usage.openStream()
	if refused != nil {
		return nil, nil, c.refuse(refused)
	}
	bound, release := c.bind(ctx, c.now())
	return bound, func() {
		release()
		done()
	}, nil
}

// OpenWatch counts a watch of the caller until closed is called.
func (c *Caller) OpenWatch() (closed func(), err error) {
	if c == nil {
		return func() {}, nil
	}
	done, refused := c.Usage.openWatch()
	if refused != nil {
		return nil, c.refuse(refused)
	}
	return done, nil
}
