package ingest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"holdmetrics/hold"
)

// ContentTypeHeader and JSONContentType say that a raw message is JSON; without
// them it is protobuf.
const (
	ContentTypeHeader = "Content-Type"
	JSONContentType   = "application/json"
)

// IsJSON reports whether the headers of a message say that it is JSON.
func IsJSON(h nats.Header) bool {
	if len(h) == 0 {
		return false
	}
	kind, _, _ := strings.Cut(h.Get(ContentTypeHeader), ";")
	return strings.EqualFold(strings.TrimSpace(kind), JSONContentType)
}

// DecodeJSON reads one event from a JSON object into d, replacing what d held.
//
//	token_id, holder_id, hold_id   strings
//	start, end                     RFC 3339 strings, or unix seconds as a number or
//	                               a string; up to nine fractional digits (ParseTime)
//	weight                         a number; an explicit 0 is a weight of 0
//	weight_exact                   a string, or a number that is taken by its text
//	revision                       an integer from 0 to 2^64-1, as number or string
//	retract                        true or false, as themselves or as strings
//
// Absent, null and the empty string all mean "not given". The names are case
// sensitive. An unknown name, a name that comes twice and a value that does not
// fit are each a *hold.FieldError with that name; what is no JSON object in
// UTF-8, or has anything but space after it, is an error that matches ErrMalformed.
//
// The strings of d alias b where nothing in them is escaped, so b must not
// change for as long as the draft, or an event made from it, is in use. After an
// error what d holds is not specified.
func DecodeJSON(b []byte, d *hold.Draft) error {
	r := JSONReader{strict: true}
	return r.Decode(b, d)
}

// JSONReader reads events as servers and files take them: as DecodeJSON does, but for
// what its fields allow. The log itself is read by DecodeJSON alone, so that a replay
// takes what the first run took.
//
// A reader of the zero value passes over fields whose name begins with "_", whatever
// their value is. It is not safe for concurrent use.
type JSONReader struct {
	// Times reads start and end; nil: ParseTime. Its errors match hold.ErrTime.
	Times func(string) (hold.Stamp, error)
	// Lenient passes over every field that no event has.
	Lenient bool
	// Skipped is called with the name of each field that is passed over, which is
	// valid until Skipped returns. It may be nil.
	Skipped func(name string)
	// Extended takes values of MongoDB's extended JSON, such as {"$date":...}.
	Extended bool
	// Pick names a field whose text is kept in Picked. It may be one that no event has.
	// Empty: there is none.
	Pick string

	// Weight and Picked are the texts of the weight and of the field Pick of the last
	// event, or "" if it has none.
	Weight, Picked string

	strict bool
}

// Decode reads one event from a JSON object into d, replacing what d held. Its errors,
// and what is true of the strings of d, are those of DecodeJSON.
func (r *JSONReader) Decode(b []byte, d *hold.Draft) error {
	*d = hold.Draft{}
	r.Weight, r.Picked = "", ""
	s := scanner{b: b, extended: r.Extended}
	var seen fieldSet
	more, err := s.open()
	for ; more && err == nil; more, err = s.next() {
		var name string
		var v value
		if name, v, err = s.member(); err != nil {
			break
		}
		if r.Pick != "" && name == r.Pick {
			if r.Picked, err = idText(name, v); err != nil {
				return err
			}
		}
		f, ok := fieldByName(name)
		switch {
		case !ok && r.skips(name):
			if v.kind == kindNested {
				if err = s.skip(); err != nil {
					return err
				}
			}
			if r.Skipped != nil {
				r.Skipped(name)
			}
			continue
		case !ok:
			return &hold.FieldError{Field: clip(name), Err: ErrUnknownField}
		case seen.has(f):
			return &hold.FieldError{Field: name, Err: ErrRepeatedField}
		}
		seen.add(f)
		if v.given() {
			if err := r.set(d, f, name, v); err != nil {
				return err
			}
		}
	}
	if err == nil {
		err = s.end()
	}
	return err
}

// skips reports whether a field that no event has is passed over.
func (r *JSONReader) skips(name string) bool {
	return !r.strict && (r.Lenient || name == r.Pick && name != "" || strings.HasPrefix(name, "_"))
}

// idText returns the text of a string or a number, or "" if there is none.
func idText(name string, v value) (string, error) {
	switch {
	case v.kind == kindString, v.kind == kindNumber:
		return v.text, nil
	case v.kind == kindNull:
		return "", nil
	}
	return "", &hold.FieldError{Field: clip(name), Err: ErrFieldType, Detail: v.kind.String()}
}

// field is a field of a JSON event; fieldSet has a bit for each.
type field uint

const (
	jsonToken field = iota
	jsonHolder
	jsonHoldID
	jsonStart
	jsonEnd
	jsonWeight
	jsonWeightExact
	jsonRevision
	jsonRetract
)

// fieldByName is a switch and not a map: this is asked for every name of every event.
func fieldByName(name string) (field, bool) {
	switch name {
	case "token_id":
		return jsonToken, true
	case "holder_id":
		return jsonHolder, true
	case "hold_id":
		return jsonHoldID, true
	case "start":
		return jsonStart, true
	case "end":
		return jsonEnd, true
	case "weight":
		return jsonWeight, true
	case "weight_exact":
		return jsonWeightExact, true
	case "revision":
		return jsonRevision, true
	case "retract":
		return jsonRetract, true
	}
	return 0, false
}

type fieldSet uint

func (s fieldSet) has(f field) bool { return s&(1<<f) != 0 }
func (s *fieldSet) add(f field)     { *s |= 1 << f }

func (r *JSONReader) set(d *hold.Draft, f field, name string, v value) (err error) {
	if !f.takes(v.kind) {
		return &hold.FieldError{Field: name, Err: ErrFieldType, Detail: v.kind.String()}
	}
	switch f {
	case jsonToken:
		d.Token = v.text
	case jsonHolder:
		d.Holder = v.text
	case jsonHoldID:
		d.HoldID = v.text
	case jsonStart:
		d.Start, err = r.time(v.text)
	case jsonEnd:
		d.End, err = r.time(v.text)
	case jsonWeight:
		r.Weight = v.text
		d.Weight, d.WeightGiven, err = ParseWeight(v.text)
	case jsonWeightExact:
		d.WeightExact = v.text
	case jsonRevision:
		d.Revision, err = ParseRevision(v.text)
	case jsonRetract:
		d.Retract, err = ParseBool(v.text)
	}
	return InField(name, err)
}

func (r *JSONReader) time(text string) (hold.Stamp, error) {
	if r.Times == nil {
		return ParseTime(text)
	}
	return r.Times(text)
}

// takes reports whether a field may have a value of a kind.
func (f field) takes(k kind) bool {
	switch f {
	case jsonToken, jsonHolder, jsonHoldID:
		return k == kindString
	case jsonWeight:
		return k == kindNumber
	case jsonRetract:
		return k == kindBool || k == kindString
	default:
		return k == kindNumber || k == kindString
	}
}

// InField makes the error of ParseTime, ParseRevision, ParseBool or ParseWeight
// a *hold.FieldError that names the field the text came from. A nil error stays nil.
func InField(name string, err error) error {
	if err == nil {
		return nil
	}
	for _, rule := range []error{hold.ErrTime, hold.ErrWeight, ErrRevision, ErrBool} {
		if errors.Is(err, rule) {
			return &hold.FieldError{Field: name, Err: rule, Detail: strings.TrimPrefix(err.Error(), rule.Error()+": ")}
		}
	}
	return &hold.FieldError{Field: name, Err: err}
}

// value is a JSON value of one level: its kind, and its text without quotes.
type value struct {
	kind kind
	text string
}

func (v value) given() bool {
	return v.kind != kindNull && !(v.kind == kindString && v.text == "")
}

type kind uint8

const (
	kindNull kind = iota
	kindString
	kindNumber
	kindBool
	kindNested
)

func (k kind) String() string {
	switch k {
	case kindNull:
		return "null"
	case kindString:
		return "a string"
	case kindNumber:
		return "a number"
	case kindBool:
		return "true or false"
	default:
		return "an object or an array"
	}
}

func malformedJSON(at int, what string) error {
	return fmt.Errorf("%w: JSON: %s at byte %s", ErrMalformed, what, strconv.Itoa(at))
}
