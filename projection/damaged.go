package projection

import (
	"bytes"
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"
)

// damagedKeys are the keys of a view whose latest value cannot be read, or is of another
// holder. A good value takes a key out.
type damagedKeys struct {
	check func(key string, value []byte) bool // nil: every value is good
	count atomic.Int64                        // len(keys): nearly always 0
	mu    sync.Mutex
	keys  map[string]struct{}
}

// note takes the latest value of a key, and reports whether it can be read. One that is
// gone cannot be damaged.
func (d *damagedKeys) note(key string, value []byte, gone bool) bool {
	good := gone || d.check == nil || d.check(key, value)
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
// it has.
func CheckSnapshot(key string, value []byte) bool {
	s, err := ReadSnapshot(value)
	return err == nil && isKeyOf(key, s.Holder)
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
