package httpapi

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"holdmetrics/internal/inflate"
)

// holdsBody reads the body of POST /holds, however long that takes, as long as the client
// sends leastRate bytes in each bodyTimeout that it is waited for, and what they unpack to
// is within the limits of the server.
type holdsBody struct {
	io.Reader // unpacks
	raw       *timedReader
}

// leastRate is how many bytes must come within each bodyTimeout: an event or two. A client
// that sends less holds what others could use.
const leastRate = 256

// timedReader gives reads deadlines. Time in which this server does not read counts for
// nothing.
type timedReader struct {
	r       io.Reader
	control *http.ResponseController
	broke   error // of the connection; nil while it is whole

	came   int           // bytes since the time limit began
	waited time.Duration // for them
}

func (t *timedReader) Read(b []byte) (int, error) {
	if t.came >= leastRate {
		t.came, t.waited = 0, 0
	}
	if t.waited >= bodyTimeout {
		t.broke = os.ErrDeadlineExceeded
		return 0, t.broke
	}
	began := time.Now()
	t.control.SetReadDeadline(began.Add(bodyTimeout - t.waited)) //nolint:errcheck // where deadlines are not supported there is none
	n, err := t.r.Read(b)
	t.came, t.waited = t.came+n, t.waited+time.Since(began)
	if err != nil && err != io.EOF {
		t.broke = err
	}
	if err == io.EOF {
		// The client has nothing left to send; a deadline that stayed would cancel
		// the request while it waits for the log.
		t.control.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	}
	return n, err
}

// openBody begins to read. It returns a failure where there is no way to.
func openBody(ctx context.Context, w http.ResponseWriter, r *http.Request, limits inflate.Limits) (*holdsBody, *problem) {
	b := &holdsBody{raw: &timedReader{r: r.Body, control: http.NewResponseController(w)}}
	b.Reader = b.raw
	switch encoding := strings.ToLower(strings.Join(r.Header.Values("Content-Encoding"), ",")); encoding {
	case "", "identity":
		return b, nil
	case "gzip", "x-gzip":
		unpack, err := inflate.Process().NewReader(ctx, b.raw, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }, limits)
		if err != nil {
			b.release(false)
			f := b.failure(err)
			return nil, &f
		}
		b.Reader = unpack
		return b, nil
	}
	return nil, &problem{status: http.StatusUnsupportedMediaType, message: "the Content-Encoding is neither gzip nor identity"}
}

// failure says why reading ended before its time.
func (b *holdsBody) failure(err error) problem {
	switch {
	case errors.Is(b.raw.broke, os.ErrDeadlineExceeded):
		return problem{status: http.StatusRequestTimeout, message: fmt.Sprintf("no more of the body came within %v, or less than %d bytes: send it faster, or each event by itself", bodyTimeout, leastRate)}
	case b.raw.broke != nil:
		return problem{status: statusClientGone, message: "the body broke off: " + b.raw.broke.Error()}
	case errors.Is(err, inflate.ErrTooMuch), errors.Is(err, errEmptyLines):
		return problem{status: http.StatusRequestEntityTooLarge, message: err.Error()}
	case errors.Is(err, context.Canceled):
		return problem{status: statusClientGone, message: "the client has gone"}
	}
	return problem{status: http.StatusBadRequest, message: "the body does not unpack: " + err.Error()}
}

// release leaves the connection's deadline as the server wants it. Where the
// body was not read to its end net/http reads on a little, so that the client
// gets to see the answer; a client that sends nothing must not hold that up.
func (b *holdsBody) release(whole bool) {
	if whole {
		b.raw.control.SetReadDeadline(time.Time{}) //nolint:errcheck // as in Read
		return
	}
	b.raw.control.SetReadDeadline(time.Now().Add(headerTimeout)) //nolint:errcheck // as in Read
}
