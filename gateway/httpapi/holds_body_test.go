package httpapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// trickle gives a piece of some bytes after each pause.
type trickle struct {
	piece int
	pause time.Duration
}

func (t trickle) Read(b []byte) (int, error) {
	time.Sleep(t.pause)
	return min(t.piece, len(b)), nil
}

// A client that sends next to nothing is not waited for, however regularly it sends. One
// that sends an event now and then is, and so is one whose server is slow.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		body  trickle
		reads int
		work  time.Duration // of the server, between two reads
		ends  bool
	}{
		{"a byte a second", trickle{1, time.Second}, 3600, 0, true},
		{"an event in ten seconds", trickle{120, 10 * time.Second}, 360, 0, false},
		{"a slow server", trickle{1, 0}, 200, time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &timedReader{r: c.body, control: http.NewResponseController(httptest.NewRecorder())}
				began := time.Now()
				buf := make([]byte, 4<<10)
				for i := range c.reads {
					if _, err := r.Read(buf); err != nil {
						if !c.ends || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(r.broke, os.ErrDeadlineExceeded) || time.Since(began) > bodyTimeout+time.Second {
							t.Errorf("read %d, after %v: %v", i, time.Since(began), err)
						}
						return
					}
					time.Sleep(c.work)
				}
				if c.ends {
					t.Error("the client is waited for")
				}
			})
		})
	}
}
