package intake

import (
	"context"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// ruledProducer lets into the log what the rules of the active generation let in. All
// endpoints send through it. The processor decides the same again, since not all
// events come through an endpoint, and rules may change on the way.
//
// An event goes into the log as it was sent. Ids are normalised by its readers,
// each generation by its own rules: what one made of an id, no other could undo, and
// what the log says would depend on which was active.
type ruledProducer struct {
	Producer
	rules func() hold.Rules // of the active generation
}

// Record sends an event, or says why the rules refuse it.
func (p ruledProducer) Record(ctx context.Context, d *hold.Draft) (position uint64, err error) {
	if err := accept(d, p.rules()); err != nil {
		return 0, err
	}
	return p.Producer.Record(ctx, d)
}

// Send is Record without waiting for the log.
func (p ruledProducer) Send(ctx context.Context, d *hold.Draft, done func(position uint64, err error)) error {
	if err := accept(d, p.rules()); err != nil {
		return err
	}
	return p.Producer.Send(ctx, d, done)
}

// SendBatch sends those of a batch that the rules do not refuse.
func (p ruledProducer) SendBatch(ctx context.Context, drafts []hold.Draft, done func(ingest.BatchResult)) {
	rules := p.rules()
	var refused []ingest.Refusal
	var at []int // place of each that is sent, once one is refused
	sent := drafts
	for i := range drafts {
		err := accept(&drafts[i], rules)
		switch {
		case err != nil && refused == nil:
			sent = append([]hold.Draft(nil), drafts[:i]...) // the caller's batch stays as it is
			for j := range i {
				at = append(at, j)
			}
			fallthrough
		case err != nil:
			refused = append(refused, ingest.Refusal{Index: i, Err: err})
		case refused != nil:
			sent, at = append(sent, drafts[i]), append(at, i)
		}
	}
	if refused == nil {
		p.Producer.SendBatch(ctx, drafts, done)
		return
	}
	p.Producer.SendBatch(ctx, sent, func(r ingest.BatchResult) {
		for i := range r.Refused {
			r.Refused[i].Index = at[r.Refused[i].Index]
		}
		r.Refused = mergeRefusals(r.Refused, refused)
		done(r)
	})
}

// mergeRefusals merges two lists by index.
func mergeRefusals(a, b []ingest.Refusal) []ingest.Refusal {
	merged := make([]ingest.Refusal, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].Index < b[0].Index {
			merged, a = append(merged, a[0]), a[1:]
		} else {
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	return append(append(merged, a...), b...)
}
