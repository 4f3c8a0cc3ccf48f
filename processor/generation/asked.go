package generation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Asked is a word of [Registry.Ask] that stands. It is not safe for concurrent use.
type Asked struct {
	r        *Registry
	name     string
	ttl      time.Duration
	revision uint64
}

// Ask is Prepare for as long as ttl, or until End. Whoever asks says it again before
// that; so where he is killed, doors let go of what they loaded for him, and nothing
// stands in the way of others. One that asked before is overtaken.
func (r *Registry) Ask(ctx context.Context, name string, ttl time.Duration) (*Asked, error) {
	a := &Asked{r: r, name: name, ttl: ttl}
	return a, a.put(ctx)
}

func (a *Asked) put(ctx context.Context, options ...jetstream.PublishOpt) error {
	value, err := json.Marshal(Prepare{Generation: a.name})
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: "$KV." + Bucket + "." + prepareKey, Header: nats.Header{}, Data: value}
	ack, err := a.r.js.PublishMsg(ctx, msg, append(options, jetstream.WithMsgTTL(a.ttl))...)
	if err != nil {
		return fmt.Errorf("generation: write %s: %w", prepareKey, err)
	}
	a.revision = ack.Sequence
	return nil
}

// Again says it again. Where somebody else has asked for another generation, or has
// ended all asking, it does not, and the error is [ErrChanged]. A word that has run
// out meanwhile stands again.
func (a *Asked) Again(ctx context.Context) error {
	err := a.put(ctx, jetstream.WithExpectLastSequencePerSubject(a.revision))
	if !raced(err) {
		return err
	}
	now, revision, err := get[Prepare](ctx, a.r, prepareKey)
	switch {
	case errors.Is(err, ErrUnknown): // it ran out
		return a.put(ctx)
	case err != nil:
		return err
	case now.Generation == a.name:
		a.revision = revision // the others want the same
		return a.put(ctx, jetstream.WithExpectLastSequencePerSubject(a.revision))
	case now.Generation == "":
		return fmt.Errorf("%w: somebody has ended the preparation of generation %s", ErrChanged, a.name)
	}
	return fmt.Errorf("%w: somebody prepares generation %s", ErrChanged, now.Generation)
}

// End takes the word back, unless it is another's by now.
func (a *Asked) End(ctx context.Context) error {
	value, err := json.Marshal(Prepare{})
	if err != nil {
		return err
	}
	if _, err := a.r.kv.Update(ctx, prepareKey, value, a.revision); err != nil && !raced(err) {
		return fmt.Errorf("generation: write %s: %w", prepareKey, err)
	}
	return nil
}
