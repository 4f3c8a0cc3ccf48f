package intake

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/hold"
)

// newIntake is an intake of a producer that takes everything.
func newIntake(pairs Pairs, rules hold.Rules) *Intake {
	return New(Config{
		Producer: &fakes.Producer{}, Rules: func() hold.Rules { return rules }, Pairs: pairs,
		Sealed: func() bool { return false }, RecordWait: time.Minute, StreamWait: time.Minute,
		Blocked: func(_ context.Context, err error) error { return err }, Observer: counted{},
	})
}

// counted is an observer that counts nothing.
type counted struct{}

func (counted) Accepted(Endpoint, int)                                {}
func (counted) Event(Endpoint, error)                                 {}
func (counted) Acknowledged(context.Context, Endpoint, time.Duration) {}

func TestServersRefuse(t *testing.T) {
	t.Parallel()
	in := newIntake(nil, hold.PlainRules(hold.Merge))
	start, end := hold.StampOf(1_600_000_000e9), hold.StampOf(1_600_000_001e9)
	epoch := hold.Stamp{Set: true}
	for _, c := range []struct {
		name  string
		draft hold.Draft
		field string // "": accepted
		err   error
	}{
		{"a hold", hold.Draft{Token: "t", Holder: "a", Start: start, End: end, Weight: 2}, "", nil},
		{"a stop", hold.Draft{Token: "t", Holder: "a", End: end}, "", nil},
		{"a stop with a weight", hold.Draft{Token: "t", Holder: "a", End: end, Weight: 2}, "weight", hold.ErrStopWeight},
		{"a stop with a weight of 1", hold.Draft{Token: "t", Holder: "a", End: end, Weight: 1}, "weight", hold.ErrStopWeight},
		{"a stop with a weight of 0", hold.Draft{Token: "t", Holder: "a", End: end, WeightGiven: true}, "weight", hold.ErrStopWeight},
		{"a stop with an exact weight", hold.Draft{Token: "t", Holder: "a", End: end, Weight: 2, WeightExact: "2"}, "weight_exact", hold.ErrStopWeight},
		{"a stop by hold_id with a weight", hold.Draft{Token: "t", Holder: "a", HoldID: "h", End: end, Weight: 2}, "weight", hold.ErrStopWeight},
		{"the retract of a stop, as it was sent", hold.Draft{Token: "t", Holder: "a", End: end, Weight: 2, Retract: true}, "", nil},
		{"neither start nor end", hold.Draft{Token: "t", Holder: "a", End: epoch, Weight: 2}, "start", hold.ErrRequired},
		{"white space within", hold.Draft{Token: "t t", Holder: "a\u00a0b", Start: start}, "", nil},
		{"a token that ends with a space", hold.Draft{Token: "t ", Holder: "a", Start: start}, "token_id", hold.ErrSpace},
		{"a holder that begins with a no-break space", hold.Draft{Token: "t", Holder: "\u00a0a", Start: start}, "holder_id", hold.ErrSpace},
		{"a holder that ends without width", hold.Draft{Token: "t", Holder: "a\u200b", Start: start}, "holder_id", hold.ErrSpace},
		{"a hold_id that ends with a tab", hold.Draft{Token: "t", Holder: "a", HoldID: "h\t", Start: start}, "hold_id", hold.ErrSpace},
		{"a hold_id of a space", hold.Draft{Token: "t", Holder: "a", HoldID: " ", Start: start}, "hold_id", hold.ErrSpace},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			batch := make(chan Batch, 1)
			in.Stream(t.Context(), BroadcastBatch).SendBatch(t.Context(), []hold.Draft{c.draft}, func(r Batch) { batch <- r })
			errs := map[string]error{}
			if r := <-batch; len(r.Refused) > 0 {
				errs["batch"] = r.Refused[0].Err
			} else {
				errs["batch"] = nil
			}
			_, errs["record"] = in.Record(t.Context(), Record, &c.draft, nil)
			sent := make(chan error, 1)
			if errs["send"] = in.Stream(t.Context(), BroadcastBatch).Send(t.Context(), &c.draft, func(_ Receipt, err error) { sent <- err }); errs["send"] == nil {
				errs["send"] = <-sent
			}
			for by, err := range errs {
				var field *hold.FieldError
				switch {
				case c.field == "" && err != nil:
					t.Errorf("%s: %v", by, err)
				case c.field == "":
				case !errors.Is(err, c.err) || !errors.As(err, &field) || field.Field != c.field:
					t.Errorf("%s: %v; want %s %v", by, err, c.field, c.err)
				}
			}
		})
	}
}
