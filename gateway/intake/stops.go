package intake

import (
	"context"
	"errors"
	"math"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// A stop ends the whole hold, so a weight in it says nothing, and is refused. Only the
// very weight of the hold that it ends takes nothing away, and is accepted. What a stop
// ends follows from all events of its pair. So the server waits until everything is
// applied that the log has, and tries the stop on a copy of the pair. Stops with a
// weight are rare, and each may take as long as a read does.

// refuseWeight is the refusal of a stop with a weight.
func refuseWeight(d *hold.Draft) error {
	return &hold.FieldError{Field: stopWeight(d), Err: hold.ErrStopWeight}
}

// eventOf returns a draft as an event, without the limits of times, which the producer
// checks by its clock.
func eventOf(d *hold.Draft) (hold.Event, error) {
	return d.Check(math.MaxInt64, hold.Limits{})
}

// checkStops returns the refusal, or nil, of each stop with a weight at some places of
// drafts. All other events that count must be in the log.
func (in *Intake) checkStops(ctx context.Context, drafts []hold.Draft, places []int) []error {
	ctx, cancel := context.WithTimeout(ctx, in.cfg.RecordWait)
	defer cancel()
	errs := make([]error, len(places))
	pairs := map[projection.PairKey][]int{} // indexes of places
	var order []projection.PairKey
	for i, at := range places {
		d := &drafts[at]
		if _, err := eventOf(d); err != nil {
			errs[i] = err
			continue
		}
		key := projection.PairKey{Holder: d.Holder, Token: d.Token}
		if pairs[key] == nil {
			order = append(order, key)
		}
		pairs[key] = append(pairs[key], i)
	}
	for _, key := range order {
		in.checkStopsOf(ctx, key, drafts, places, pairs[key], errs)
	}
	return errs
}

// errRefused ends the use of a pair that has a stop which was refused.
var errRefused = errors.New("a stop was refused")

// checkStopsOf is checkStops for the stops of one pair: those at places[i] for each i of
// mine, in order. What was accepted counts for the next.
func (in *Intake) checkStopsOf(ctx context.Context, key projection.PairKey, drafts []hold.Draft, places, mine []int, errs []error) {
	var accepted []hold.Fact
	for next := 0; next < len(mine); {
		err := errRefused
		if in.cfg.Pairs != nil {
			err = in.cfg.Pairs.AppliedPair(ctx, key, func(p *hold.Pair, _ uint64) error {
				for i := range accepted {
					p.Add(accepted[i])
				}
				for ; next < len(mine); next++ {
					d := &drafts[places[mine[next]]]
					event, err := eventOf(d)
					if err != nil {
						return err
					}
					stop := event.Fact()
					p.Add(stop)
					weight, ends := hold.StopEnds(p, &stop)
					if p.Err() != nil {
						return p.Err()
					}
					if !ends || weight != event.Weight {
						errs[mine[next]] = refuseWeight(d)
						next++
						return errRefused // the pair has the stop, so the next one needs another copy
					}
					accepted = append(accepted, stop)
				}
				return nil
			})
		}
		if err == nil || errors.Is(err, errRefused) && in.cfg.Pairs != nil {
			continue
		}
		for ; next < len(mine); next++ { // what they end is not known
			errs[mine[next]] = refuseWeight(&drafts[places[mine[next]]])
		}
	}
}
