package generation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/backoff"
)

// Preparation is what [Registry.PrepareFor] wrote. It is not safe for concurrent use.
type Preparation struct {
	r        *Registry
	name     string
	ttl      time.Duration
	revision uint64
}

// PrepareFor names the generation that gateways are to load, until End or for ttl after
// the last Renew. So if the process that prepares is killed, gateways release what they
// loaded for it, and nothing blocks others. It overtakes any earlier preparation.
func (r *Registry) PrepareFor(ctx context.Context, name string, ttl time.Duration) (*Preparation, error) {
	p := &Preparation{r: r, name: name, ttl: ttl}
	return p, p.put(ctx)
}

func (p *Preparation) put(ctx context.Context, options ...jetstream.PublishOpt) error {
	value, err := json.Marshal(Prepare{Generation: p.name})
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: "$KV." + Bucket + "." + prepareKey, Header: nats.Header{}, Data: value}
	ack, err := p.r.js.PublishMsg(ctx, msg, append(options, jetstream.WithMsgTTL(p.ttl))...)
	if err != nil {
		return fmt.Errorf("generation: write %s: %w", prepareKey, err)
	}
	p.revision = ack.Sequence
	return nil
}

// Renew makes the preparation last for ttl from now, also if it has expired meanwhile.
// It returns [ErrChanged] if somebody else has prepared another generation, or has ended
// the preparation.
func (p *Preparation) Renew(ctx context.Context) error {
	err := p.put(ctx, jetstream.WithExpectLastSequencePerSubject(p.revision))
	if !raced(err) {
		return err
	}
	now, revision, err := get[Prepare](ctx, p.r, prepareKey)
	switch {
	case errors.Is(err, ErrUnknown): // it has expired
		return p.put(ctx)
	case err != nil:
		return err
	case now.Generation == p.name:
		p.revision = revision // somebody else prepares the same
		return p.put(ctx, jetstream.WithExpectLastSequencePerSubject(p.revision))
	case now.Generation == "":
		return fmt.Errorf("%w: somebody has ended the preparation of generation %s", ErrChanged, p.name)
	}
	return fmt.Errorf("%w: somebody prepares generation %s", ErrChanged, now.Generation)
}

// End ends the preparation, unless somebody else has prepared meanwhile.
func (p *Preparation) End(ctx context.Context) error {
	value, err := json.Marshal(Prepare{})
	if err != nil {
		return err
	}
	if _, err := p.r.kv.Update(ctx, prepareKey, value, p.revision); err != nil && !raced(err) {
		return fmt.Errorf("generation: write %s: %w", prepareKey, err)
	}
	return nil
}

// keep renews the preparation until stop is called. The context ends with stop, and when
// somebody else prepares another generation, which stop then returns.
func (p *Preparation) keep(ctx context.Context, every time.Duration) (preparing context.Context, stop func() error) {
	preparing, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	var overtaken error
	go func() {
		defer close(ended)
		for backoff.Wait(preparing, every) == nil {
			within, done := context.WithTimeout(preparing, prepareTTL)
			err := p.Renew(within)
			done()
			if errors.Is(err, ErrChanged) {
				overtaken = err
				cancel()
			}
			// Another error is the broker's; there is time to try once more.
		}
	}()
	return preparing, func() error {
		cancel()
		<-ended
		return overtaken
	}
}
