package intake

import (
	"context"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// lotsNeedIDs are rules by which the holds of lots need a hold_id; ids are in lower case.
type lotsNeedIDs struct{ hold.Rules }

func (d lotsNeedIDs) Of(token string) *hold.Rule {
	rule := *d.Rules.Of(token)
	rule.NeedsID = token == "lots"
	return &rule
}
func (lotsNeedIDs) Holder(id string) string { return strings.ToLower(id) }
func (lotsNeedIDs) Token(id string) string  { return strings.ToLower(id) }
func (lotsNeedIDs) NormalisesHolders() bool { return true }

// Each refusal within a batch is reported at its index, by rules and by the producer.
func TestBatchesGoByTheRules(t *testing.T) {
	t.Parallel()
	in := newIntake(nil, lotsNeedIDs{hold.PlainRules(hold.Merge)})
	good := fakes.Held("X", "A", 1_600_000_000, 1_600_000_001, 1)
	bare := fakes.Held("LOTS", "a", 1_600_000_000, 1_600_000_001, 1)
	wrong := fakes.Held("x", "a", 1_600_000_001, 1_600_000_000, 1)
	for _, c := range []struct {
		name   string
		drafts []hold.Draft
		want   []int
	}{
		{"none", []hold.Draft{good, good}, nil},
		{"the producer's", []hold.Draft{good, wrong, good}, []int{1}},
		{"the rules'", []hold.Draft{good, bare, good, bare}, []int{1, 3}},
		{"both", []hold.Draft{bare, wrong, good, bare, wrong, good}, []int{0, 1, 3, 4}},
		{"all", []hold.Draft{bare, bare}, []int{0, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(c.drafts)
			done := make(chan Batch, 1)
			in.Stream(t.Context(), BroadcastBatch).SendBatch(t.Context(), c.drafts, func(r Batch) { done <- r })
			r := <-done
			var got []int
			for _, refusal := range r.Refused {
				got = append(got, refusal.Index)
			}
			if !slices.Equal(got, c.want) || r.Accepted != len(c.drafts)-len(c.want) {
				t.Fatalf("refused %v, accepted %d; want %v", got, r.Accepted, c.want)
			}
			if !slices.Equal(c.drafts, before) {
				t.Fatal("the batch was changed")
			}
		})
	}
}

// contexts is a producer that notes whether events are sent within a trace.
type contexts struct {
	Producer
	traced, untraced int
}

func (c *contexts) count(ctx context.Context, n int) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		c.traced += n
	} else {
		c.untraced += n
	}
}

func (c *contexts) Send(ctx context.Context, d *hold.Draft, done func(uint64, error)) error {
	c.count(ctx, 1)
	return c.Producer.Send(ctx, d, done)
}

func (c *contexts) SendBatch(ctx context.Context, drafts []hold.Draft, done func(ingest.BatchResult)) {
	c.count(ctx, len(drafts))
	c.Producer.SendBatch(ctx, drafts, done)
}

// The first events of a stream belong to the trace of its call, and no later ones.
func TestStreamLeavesItsTrace(t *testing.T) {
	t.Parallel()
	in := newIntake(nil, hold.PlainRules(hold.Merge))
	counted := &contexts{Producer: in.cfg.Producer}
	in.cfg.Producer = counted
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled}))
	s := in.Stream(ctx, Broadcast)
	d := fakes.Held("x", "a", 1_600_000_000, 1_600_000_001, 1)
	done := make(chan error, 1)
	for range mostTraced + 2 {
		if err := s.Send(ctx, &d, func(_ Receipt, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	s.SendBatch(ctx, []hold.Draft{d, d}, func(Batch) { done <- nil })
	<-done
	if counted.traced != mostTraced || counted.untraced != 4 {
		t.Errorf("%d events are within the trace, %d are not", counted.traced, counted.untraced)
	}
}
