package archive

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"holdmetrics/hold"
)

// AppendEvent writes an event as a JSON object whose fields are those of 'import
// events'. If they cannot express an event, it writes what they can; the caller
// reads it back and compares.
func AppendEvent(b []byte, d *hold.Draft) []byte {
	start := len(b)
	field := func(name string) {
		if b = append(b, ','); len(b) == start+1 {
			b[start] = '{'
		}
		b = append(append(append(b, '"'), name...), `":`...)
	}
	text := func(name, value string) {
		if value != "" {
			field(name)
			b = appendText(b, value)
		}
	}
	text("token_id", d.Token)
	text("holder_id", d.Holder)
	if d.Start.Set {
		field("start")
		b = appendStamp(b, d.Start)
	}
	if d.End.Set {
		field("end")
		b = appendStamp(b, d.End)
	}
	if (d.Weight != 0 || d.WeightGiven) && !math.IsNaN(d.Weight) && !math.IsInf(d.Weight, 0) {
		field("weight")
		b = strconv.AppendFloat(b, d.Weight, 'g', -1, 64)
	}
	text("weight_exact", d.WeightExact)
	text("hold_id", d.HoldID)
	if d.Revision != 0 {
		field("revision")
		b = strconv.AppendUint(b, d.Revision, 10)
	}
	if d.Retract {
		field("retract")
		b = append(b, "true"...)
	}
	if len(b) == start {
		b = append(b, '{')
	}
	return append(b, '}')
}

func appendText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, err := json.Marshal(s)
			if err != nil {
				panic(err) // of a string: cannot be
			}
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendStamp writes RFC 3339 where that can say it, else unix seconds.
func appendStamp(b []byte, t hold.Stamp) []byte {
	const year0, year10000 = -62_167_219_200, 253_402_300_800
	if t.Seconds >= year0 && t.Seconds < year10000 && t.Nanos >= 0 && t.Nanos < 1e9 {
		b = time.Unix(t.Seconds, int64(t.Nanos)).UTC().AppendFormat(append(b, '"'), time.RFC3339Nano)
		return append(b, '"')
	}
	return strconv.AppendInt(b, t.Seconds, 10)
}
