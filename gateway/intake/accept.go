package intake

import (
	"holdmetrics/gateway/auth"
	"holdmetrics/hold"
)

// accept returns what a server refuses of an event beside [hold.Draft.Check], which
// comes later: what the caller may not send, what the rules refuse, and what a log may have
// but no client may send. A stop with a weight is another matter: see stopWeight.
//
// The caller comes first, so that no other refusal tells it of pairs of others.
func accept(caller *auth.Caller, d *hold.Draft, rules hold.Rules) error {
	if err := caller.MayWrite(d, rules); err != nil {
		return err
	}
	if err := d.CheckStrict(); err != nil {
		return err
	}
	return d.AcceptedBy(rules)
}

// stopWeight returns the field in which a stop carries a weight, or "" if none does.
func stopWeight(d *hold.Draft) string {
	isStop := !d.Retract && !d.Start.Set && d.End.Set && (d.End.Seconds != 0 || d.End.Nanos != 0)
	switch {
	case !isStop:
		return ""
	case d.WeightExact != "":
		return "weight_exact"
	case d.WeightGiven || d.Weight != 0:
		return "weight"
	}
	return ""
}
