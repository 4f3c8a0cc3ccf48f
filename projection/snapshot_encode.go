package projection

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"holdmetrics/hold"
)

// encodedRoom is what a snapshot of a usual holder takes beside its names.
const encodedRoom = 240

// EncodeSnapshot returns the snapshot of a holder, by a version of the rules and in a
// generation. The same record always gives the same bytes: those of a HoldStat that is
// marshalled deterministically. They are written here field by field, since a live
// partition encodes a snapshot for nearly every event.
func EncodeSnapshot(r *HolderRecord, rules, generation string) ([]byte, error) {
	for _, text := range []string{r.Holder, rules, generation} {
		if !utf8.ValidString(text) {
			return nil, fmt.Errorf("projection: snapshot of holder %q: %q is not valid UTF-8", r.Holder, text)
		}
	}
	f := &r.Figures
	b := make([]byte, 0, encodedRoom+len(r.Holder)+len(rules)+len(generation))
	b = appendText(b, statHolder, r.Holder)
	if s := f.Settled.Held.Seconds(); s != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, statTotalSeconds, protowire.VarintType), uint64(s))
	}
	var room [decimalRoom]byte
	score := f.Settled.Score.AppendText(room[:0])
	// The standard library reads decimals correctly rounded.
	if double, _ := strconv.ParseFloat(string(score), 64); double != 0 {
		b = protowire.AppendFixed64(protowire.AppendTag(b, statWeightedScore, protowire.Fixed64Type), math.Float64bits(double))
	}
	b = appendTimestamp(b, statUpdated, r.UpdatedAt)
	b = appendDecimal(b, statSettled, score)
	held, heldBase := f.Settled.Held, f.Line.Base.Held
	b = appendText(b, statSettledHeld, held.String())
	if f.Line.Base.Score == f.Settled.Score { // as where nothing is held now
		b = appendDecimal(b, statBase, score)
	} else {
		b = appendDecimal(b, statBase, f.Line.Base.Score.AppendText(room[:0]))
	}
	b = appendText(b, statRate, decimalOfRate(&f.Line.Rate))
	b = appendText(b, statHeldBase, heldBase.String())
	b = appendNumber(b, statHeldRate, f.Line.HeldRate)
	b = appendTimestamp(b, statSince, f.Line.Since)
	if f.Line.Until != 0 {
		b = appendTimestamp(b, statUntil, f.Line.Until)
	}
	b = appendNumber(b, statPosition, r.Position)
	b = appendNumber(b, statWaiting, f.Waiting)
	b = appendText(b, statRules, rules)
	return appendText(b, statGeneration, generation), nil
}

// decimalRoom is the longest decimal of a score: 116 digits and the point.
const decimalRoom = 120

func decimalOfRate(r *hold.Rate) string {
	if r.IsZero() {
		return "0"
	}
	return r.String()
}

func appendDecimal(b []byte, num protowire.Number, text []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), text)
}

func appendText(b []byte, num protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), text)
}

func appendNumber(b []byte, num protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), n)
}
