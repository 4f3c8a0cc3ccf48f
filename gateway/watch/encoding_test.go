package watch

import "testing"

// What watchers share is not older than what one of them has seen before.
func TestEncodingsAreNotOlderThanWhatWasSeen(t *testing.T) {
	t.Parallel()
	var e Encodings
	made := byte(0)
	of := func(now, seenAt int64) byte {
		b, err := e.Of(1, 7, now, seenAt, func() ([]byte, error) { made++; return []byte{made}, nil })
		if err != nil {
			t.Fatal(err)
		}
		return b[0]
	}
	for i, c := range []struct {
		now, seenAt int64
		want        byte
	}{{100, 0, 1}, {150, 100, 1}, {160, 101, 2}, {170, 0, 2}, {160 + encodingAge, 0, 3}} {
		if got := of(c.now, c.seenAt); got != c.want {
			t.Errorf("%d: encoding %d, want %d", i, got, c.want)
		}
	}
}
