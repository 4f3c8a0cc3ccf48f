package httpapi

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// FuzzLines cuts any body into lines, however it arrives.
func FuzzLines(f *testing.F) {
	f.Add([]byte("{}\n{}\n"), false)
	f.Add([]byte("\n\n\r\n{}"), true)
	f.Add(bytes.Repeat([]byte("x"), MaxLineBytes+2), false)
	f.Fuzz(func(t *testing.T, body []byte, slowly bool) {
		var from io.Reader = bytes.NewReader(body)
		if slowly {
			from = iotest.OneByteReader(from)
		}
		want := bytes.Split(body, []byte("\n"))
		if last := len(want) - 1; len(want[last]) == 0 {
			want = want[:last]
		}
		l := lineReader{r: from, buf: make([]byte, lineBuffer)}
		for n := 0; ; {
			line, tooLong, ok := l.next()
			if !ok {
				if l.err != nil {
					if n != len(want) {
						t.Fatalf("%d lines, want %d", n, len(want))
					}
					return
				}
				l.fill()
				continue
			}
			if n >= len(want) || tooLong != (len(want[n]) > MaxLineBytes) || !tooLong && !bytes.Equal(line, want[n]) {
				t.Fatalf("line %d is %q (too long: %t) of %q", n, line, tooLong, body)
			}
			n++
		}
	})
}
