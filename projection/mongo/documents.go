package mongo

import (
	"encoding/binary"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

const (
	// versionsKept is how many versions a document of figures keeps: the present
	// one, the one that the last checkpoint stands for while a flush is under way,
	// and one more for a flush that got no checkpoint or a view that takes its time.
	versionsKept = 3
	// factsKept is how many facts a pair's document may carry. So many, and it may
	// have been given more: then hold_events alone has them all. Most pairs have
	// fewer, and are loaded with one look-up.
	factsKept = 64
)

// Kinds of facts in hold_events.
var kindNames = map[hold.Kind]string{
	hold.KindHold: "hold", hold.KindStop: "stop", hold.KindRetractHold: "retract_hold", hold.KindRetractStop: "retract_stop",
}

// factDocument is a fact as hold_events has it.
//
// start, end and weight are for people and their pipelines, and of what was held
// (and where a stop ends it) alone: what a retract takes away stands under
// `retracts`, so that no sum counts it. A hold that was given no weight has 1.
// What is read back are kind, hold_id, revision, start_ns, end_ns and
// weight_exact, where what the fact does not say is absent.
func factDocument(partition int, k projection.PairKey, f *projection.LoggedFact) bson.D {
	d := append(make(bson.D, 0, 16),
		bson.E{Key: "_id", Value: factID(partition, k, &f.Fact)},
		bson.E{Key: "token_id", Value: k.Token},
		bson.E{Key: "holder_id", Value: k.Holder},
		bson.E{Key: "kind", Value: kindNames[f.Kind]},
	)
	if f.HoldID != "" {
		d = append(d, bson.E{Key: "hold_id", Value: f.HoldID}, bson.E{Key: "revision", Value: int64(f.Revision)})
	}
	if f.Kind == hold.KindHold || f.Kind == hold.KindStop {
		d = appendReadable(d, &f.Fact)
	} else if readable := appendReadable(bson.D{}, &f.Fact); len(readable) > 0 {
		d = append(d, bson.E{Key: "retracts", Value: readable})
	}
	if f.Start != 0 {
		d = append(d, bson.E{Key: "start_ns", Value: f.Start})
	}
	if f.End != 0 {
		d = append(d, bson.E{Key: "end_ns", Value: f.End})
	}
	if f.HasWeight {
		d = append(d, bson.E{Key: "weight_exact", Value: f.Weight.String()})
	}
	return append(d,
		bson.E{Key: "partition", Value: int32(partition)},
		bson.E{Key: "position", Value: int64(f.Position)},
		bson.E{Key: "logged_at", Value: dateOf(f.LogTime)},
		bson.E{Key: "logged_ns", Value: f.LogTime},
	)
}

func appendReadable(d bson.D, f *hold.Fact) bson.D {
	if f.Start != 0 {
		d = append(d, bson.E{Key: "start", Value: dateOf(f.Start)})
	}
	if f.End != 0 {
		d = append(d, bson.E{Key: "end", Value: dateOf(f.End)})
	}
	switch {
	case f.HasWeight:
		d = append(d, bson.E{Key: "weight", Value: f.Weight.Float64()})
	case f.Start != 0:
		d = append(d, bson.E{Key: "weight", Value: 1.0})
	}
	return d
}

// dateOf is a time as mongosh shows it, in milliseconds, rounded down.
func dateOf(ns int64) bson.DateTime { return bson.NewDateTimeFromTime(time.Unix(0, ns)) }

// carried is a fact as a pair's document carries it: position, the log's time, and
// the fact's own bytes.
func carried(f *projection.LoggedFact) bson.Binary {
	b := make([]byte, 0, 64)
	b = binary.AppendUvarint(b, f.Position)
	b = binary.AppendVarint(b, f.LogTime)
	return bson.Binary{Data: f.Fact.Append(b)}
}

// version is what a flush knew of a pair or a holder.
func version(where at, figures *hold.Figures) bson.D {
	return bson.D{
		{Key: "position", Value: where.position},
		{Key: "epoch", Value: where.epoch},
		{Key: "figures", Value: bson.Binary{Data: figures.Append(make([]byte, 0, 128))}},
	}
}

// sealedVersion is what stands for the facts of a pair that were sealed, as a flush
// knew it; see sealed.go.
func sealedVersion(where at, c *projection.PairChange) bson.D {
	s, _ := hold.ReadSealedFacts(c.Sealed) // noteSealed has read it
	return bson.D{
		{Key: "position", Value: where.position},
		{Key: "epoch", Value: where.epoch},
		{Key: "count", Value: int64(s.Count())},
		{Key: "since_ns", Value: c.Figures.Line.Since},
		{Key: "data", Value: bson.Binary{Data: c.Sealed}},
	}
}

// pushed appends to the versions, and to the facts while there is room.
func pushed(v bson.D, facts []projection.LoggedFact) bson.D {
	push := bson.D{{Key: "versions", Value: bson.D{
		{Key: "$each", Value: bson.A{v}}, {Key: "$slice", Value: -versionsKept},
	}}}
	if len(facts) > 0 {
		each := make(bson.A, 0, min(len(facts), factsKept))
		for i := range facts[:min(len(facts), factsKept)] {
			each = append(each, carried(&facts[i]))
		}
		push = append(push, bson.E{Key: "facts", Value: bson.D{
			{Key: "$each", Value: each}, {Key: "$slice", Value: factsKept},
		}})
	}
	return push
}

// readableFigures are the settled ones, for people and for ranks.
func readableFigures(f *hold.Figures) bson.D {
	return bson.D{
		{Key: "weighted_score", Value: f.Settled.Score.Float64()},
		{Key: "total_seconds", Value: f.Settled.Held.Seconds()},
		{Key: "rate", Value: f.Line.Rate.Float64()},
		{Key: "waiting", Value: int64(f.Waiting)},
	}
}

// record is one guarded document of a flush.
type record struct {
	id       string
	onInsert bson.D // what names it
	set      bson.D // the present, for people and indexes
	push     bson.D // what is read back
	sealed   *projection.PairChange
	bytes    int // estimate
}

func pairDocument(prefix string, partition int, where at, c *projection.PairChange) record {
	n := min(len(c.Facts), factsKept)
	push := pushed(version(where, &c.Figures), c.Facts)
	var sealed *projection.PairChange
	if c.Sealed != nil {
		sealed = c
		push = append(push, bson.E{Key: "sealed", Value: sealedVersion(where, c)})
	}
	return record{
		id: pairID(prefix, c.Key),
		onInsert: bson.D{
			{Key: "partition", Value: int32(partition)},
			{Key: "holder_id", Value: c.Key.Holder},
			{Key: "token_id", Value: c.Key.Token},
		},
		set: append(readableFigures(&c.Figures),
			bson.E{Key: "policy", Value: c.Policy.String()}),
		push:   push,
		sealed: sealed,
		bytes:  512 + 3*(len(c.Key.Holder)+len(c.Key.Token)) + n*96 + len(c.Sealed),
	}
}

func holderDocument(prefix string, partition int, where at, h *projection.HolderRecord) record {
	v := append(version(where, &h.Figures),
		bson.E{Key: "last_position", Value: int64(h.Position)},
		bson.E{Key: "updated_ns", Value: h.UpdatedAt})
	return record{
		id: holderID(prefix, h.Holder),
		onInsert: bson.D{
			{Key: "partition", Value: int32(partition)},
			{Key: "holder_id", Value: h.Holder},
		},
		set: append(readableFigures(&h.Figures),
			bson.E{Key: "score_exact", Value: h.Figures.Settled.Score.String()},
			bson.E{Key: "score_key", Value: scoreKey(h.Figures.Settled.Score)},
			bson.E{Key: "updated_at", Value: dateOf(h.UpdatedAt)},
			bson.E{Key: "position", Value: int64(h.Position)}),
		push:  pushed(v, nil),
		bytes: 768 + 2*len(h.Holder),
	}
}

// guard lets an older flush's document pass, and an absent one.
func guard(id string, where at) bson.D {
	return bson.D{{Key: "_id", Value: id}, {Key: "$or", Value: older("written", where)}}
}

// older is true of a document whose epoch, and whose field within it, is smaller.
func older(field string, where at) bson.A {
	return bson.A{
		bson.D{{Key: "epoch", Value: bson.D{{Key: "$lt", Value: where.epoch}}}},
		bson.D{{Key: "epoch", Value: where.epoch}, {Key: field, Value: bson.D{{Key: "$lt", Value: where.position}}}},
	}
}

// update is the record's write where guard lets it pass.
func (r *record) update(where at) bson.D {
	return bson.D{
		{Key: "$set", Value: append(bson.D{
			{Key: "epoch", Value: where.epoch}, {Key: "written", Value: where.position},
		}, r.set...)},
		{Key: "$setOnInsert", Value: r.onInsert},
		{Key: "$push", Value: r.push},
	}
}
