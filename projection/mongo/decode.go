package mongo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// fields reads a document's values by name; the first error stays.
type fields struct {
	raw bson.Raw
	err error
}

func (d *fields) fail(name string, what error) {
	if d.err == nil {
		d.err = fmt.Errorf("field %s: %w", name, what)
	}
}

var (
	errType = errors.New("is absent or of another type than this program writes")
	errTail = errors.New("has something behind it")
	errGone = errors.New("it was there, and is gone; was it deleted?")
)

func (d *fields) int64(name string) int64 {
	v, ok := d.raw.Lookup(name).Int64OK()
	if !ok {
		d.fail(name, errType)
	}
	return v
}

// optionalInt64 is 0 if there is none.
func (d *fields) optionalInt64(name string) int64 {
	v := d.raw.Lookup(name)
	if v.IsZero() {
		return 0
	}
	n, ok := v.Int64OK()
	if !ok {
		d.fail(name, errType)
	}
	return n
}

func (d *fields) string(name string) string {
	v, ok := d.raw.Lookup(name).StringValueOK()
	if !ok {
		d.fail(name, errType)
	}
	return v
}

// optionalString is empty if there is none.
func (d *fields) optionalString(name string) string {
	v := d.raw.Lookup(name)
	if v.IsZero() {
		return ""
	}
	s, ok := v.StringValueOK()
	if !ok {
		d.fail(name, errType)
	}
	return s
}

// optionalArray is nil if there is none.
func (d *fields) optionalArray(name string) []bson.RawValue {
	v := d.raw.Lookup(name)
	if v.IsZero() {
		return nil
	}
	a, ok := v.ArrayOK()
	if !ok {
		d.fail(name, errType)
		return nil
	}
	values, err := a.Values()
	if err != nil {
		d.fail(name, err)
	}
	return values
}

func (d *fields) figures() hold.Figures {
	_, b, ok := d.raw.Lookup("figures").BinaryOK()
	if !ok {
		d.fail("figures", errType)
		return hold.Figures{}
	}
	f, rest, err := hold.ParseFigures(b)
	if err == nil && len(rest) > 0 {
		err = errTail
	}
	if err != nil {
		d.fail("figures", err)
	}
	return f
}

// resolved is the version of a document that counts at a checkpoint.
type resolved struct {
	found    bool
	lost     bool // there may have been one; it has been pushed out by later ones
	figures  hold.Figures
	position int64 // of a holder: of its last event
	updated  int64
}

// resolve finds the version that counts at a checkpoint; see the package comment.
func (d *fields) resolve(checkpoint at, holder bool) resolved {
	versions := d.optionalArray("versions")
	best := at{-1, -1}
	var chosen bson.Raw
	for _, value := range versions {
		raw, ok := value.DocumentOK()
		if !ok {
			d.fail("versions", errType)
			return resolved{}
		}
		v := fields{raw: raw}
		where := at{v.int64("position"), v.int64("epoch")}
		if v.err != nil {
			d.fail("versions", v.err)
			return resolved{}
		}
		if where.position > checkpoint.position || where.epoch > checkpoint.epoch {
			continue
		}
		if where.epoch > best.epoch || where.epoch == best.epoch && where.position >= best.position {
			best, chosen = where, raw
		}
	}
	if chosen == nil {
		return resolved{lost: len(versions) >= versionsKept}
	}
	v := fields{raw: chosen}
	r := resolved{found: true, figures: v.figures()}
	if holder {
		r.position, r.updated = v.int64("last_position"), v.int64("updated_ns")
	}
	if v.err != nil {
		d.fail("versions", v.err)
	}
	return r
}

// carriedFacts appends the facts that a pair's document carries, of those that
// are there at a position; all reports whether no others are.
func (d *fields) carriedFacts(dst []projection.LoggedFact, position int64) (facts []projection.LoggedFact, all bool) {
	values := d.optionalArray("facts")
	if len(values) >= factsKept {
		return dst, false
	}
	for _, value := range values {
		_, b, ok := value.BinaryOK()
		if !ok {
			d.fail("facts", errType)
			return nil, false
		}
		f, err := parseCarried(b)
		if err != nil {
			d.fail("facts", err)
			return nil, false
		}
		if f.Position <= uint64(position) {
			dst = append(dst, f)
		}
	}
	return dst, true
}

func parseCarried(b []byte) (f projection.LoggedFact, err error) {
	var n int
	if f.Position, n = binary.Uvarint(b); n <= 0 {
		return f, errType
	}
	b = b[n:]
	if f.LogTime, n = binary.Varint(b); n <= 0 {
		return f, errType
	}
	var rest []byte
	f.Fact, rest, err = hold.ParseFact(b[n:])
	if err == nil && len(rest) > 0 {
		err = errTail
	}
	return f, err
}

var kindsByName = func() map[string]hold.Kind {
	kinds := map[string]hold.Kind{}
	for kind, name := range kindNames {
		kinds[name] = kind
	}
	return kinds
}()

var errChanged = errors.New("its values are not those that its _id was made from; was it edited?")

// parseFactDocument reads a document of hold_events. Its _id is made of all that
// makes the fact, so it shows an edit by hand.
func parseFactDocument(raw bson.Raw, partition int) (projection.PairKey, projection.LoggedFact, error) {
	d := fields{raw: raw}
	key := projection.PairKey{Holder: d.string("holder_id"), Token: d.string("token_id")}
	f := projection.LoggedFact{
		Fact: hold.Fact{
			HoldID:   d.optionalString("hold_id"),
			Revision: uint64(d.optionalInt64("revision")),
			Start:    d.optionalInt64("start_ns"),
			End:      d.optionalInt64("end_ns"),
		},
		Position: uint64(d.int64("position")),
		LogTime:  d.int64("logged_ns"),
	}
	var ok bool
	if f.Kind, ok = kindsByName[d.string("kind")]; !ok {
		d.fail("kind", errType)
	}
	if exact := d.optionalString("weight_exact"); exact != "" {
		w, err := hold.ParseWeight(exact)
		if err != nil {
			d.fail("weight_exact", err)
		}
		f.Weight, f.HasWeight = w, true
	}
	if d.err == nil {
		_, id, _ := raw.Lookup("_id").BinaryOK()
		if !bytes.Equal(id, factID(partition, key, &f.Fact).Data) {
			d.err = errChanged
		}
	}
	if d.err != nil {
		return key, f, corrupt(eventsName, raw.Lookup("_id"), d.err)
	}
	return key, f, nil
}

func parseCheckpoint(raw bson.Raw) (projection.Checkpoint, bool, error) {
	d := fields{raw: raw}
	c := projection.Checkpoint{Epoch: uint64(d.int64("epoch"))}
	flushed := !raw.Lookup("log_id").IsZero()
	if flushed {
		c.LogID = d.string("log_id")
		c.Position = uint64(d.int64("position"))
		c.LogTime = d.int64("log_time_ns")
		c.Events = uint64(d.int64("events"))
		c.Rejected = uint64(d.int64("rejected"))
		c.Horizon, c.Swept = d.optionalInt64("horizon_ns"), d.optionalInt64("swept_ns")
		// Absent in what older programs wrote.
		c.Hash, c.Messages = uint64(d.optionalInt64("hash")), uint64(d.optionalInt64("messages"))
	}
	if d.err != nil {
		return c, false, corrupt(checkpointsName, raw.Lookup("_id"), d.err)
	}
	return c, flushed, nil
}
