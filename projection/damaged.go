package projection

import (
	"bytes"
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"
)

// damagedKeys are the keys of a view whose latest value cannot be read, or is of another
// holder. A good value takes a key out.
type damagedKeys struct {
	check func(key string, value []byte) bool // nil: every value is good
	tell  func(key string)                    // is called with each that is not; nil: nothing is
	count atomic.Int64                        // len(keys): nearly always 0
	mu    sync.Mutex
	keys  map[string]struct{}
}

// note takes the latest value of a key, and reports whether it can be read. One that is
// gone cannot be damaged.
func (d *damagedKeys) note(key string, value []byte, gone bool) bool {
	good := gone || d.check == nil || d.check(key, value)
	if !good && d.tell != nil {
		d.tell(strings.Clone(key))
	}
	if good && d.count.Load() == 0 {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if good {
		delete(d.keys, key)
	} else {
		if d.keys == nil {
			d.keys = map[string]struct{}{}
		}
		d.keys[strings.Clone(key)] = struct{}{}
	}
	d.count.Store(int64(len(d.keys)))
	return good
}

// CheckSnapshot reports whether a value of a bucket is a snapshot of the holder whose key
// it has: whether [ReadSnapshot] can read it, which costs several times as much, since
// every message of a bucket is checked.
func CheckSnapshot(key string, value []byte) bool {
	var holder []byte
	for b := value; len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		field := b
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return false
		}
		b = b[n:]
		if kind != protowire.BytesType {
			continue
		}
		text, _ := protowire.ConsumeBytes(field)
		plain := false
		switch num {
		case statHolder:
			holder, plain = text, true
		case statRules:
			plain = true
		case statSettled, statBase:
			plain = isDecimal(text, scoreWhole, 33)
		case statRate:
			plain = isDecimal(text, rateWhole, 24)
		case statSettledHeld, statHeldBase:
			plain = isDecimal(text, heldWhole, 9)
		}
		if !plain {
			var s Snapshot
			if s.readBytes(num, text) != nil {
				return false
			}
		}
	}
	return isKeyOf(key, holder)
}

// Digits before the point that fit in a score, a rate and a held time in any case: 384,
// 384 and 128 bits, less the digits after the point.
const scoreWhole, rateWhole, heldWhole = 115 - 33, 115 - 24, 38 - 9

// isDecimal reports whether a text is a decimal that surely fits. One for which it is
// false may fit all the same.
func isDecimal(text []byte, maxWhole, maxFraction int) bool {
	point := bytes.IndexByte(text, '.')
	whole, fraction := text, []byte(nil)
	if point >= 0 {
		whole, fraction = text[:point], text[point+1:]
		if len(fraction) == 0 {
			return false
		}
	}
	if len(whole) == 0 || len(whole) > maxWhole || len(fraction) > maxFraction {
		return false
	}
	for _, c := range whole {
		if c-'0' > 9 {
			return false
		}
	}
	for _, c := range fraction {
		if c-'0' > 9 {
			return false
		}
	}
	return true
}

// isKeyOf reports whether a key is the subject token of a holder: the id itself, or "="
// and its base64url form.
func isKeyOf(key string, holder []byte) bool {
	if key == string(holder) {
		return true
	}
	encoded, ok := strings.CutPrefix(key, "=")
	if !ok || base64.RawURLEncoding.DecodedLen(len(encoded)) != len(holder) {
		return false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	return err == nil && bytes.Equal(decoded, holder)
}

func (d *damagedKeys) look() (count int, one string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for one = range d.keys {
		break
	}
	return len(d.keys), one
}

func (d *damagedKeys) has(key string) bool {
	if d.count.Load() == 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.keys[key]
	return ok
}
