package httpapi

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// holdsBody reads the body of POST /holds, however long that takes, as long as
// each piece comes within bodyTimeout.
type holdsBody struct {
	io.Reader // unpacks
	raw       *timedReader
}

// timedReader gives each read its own deadline.
type timedReader struct {
	r       io.Reader
	control *http.ResponseController
	broke   error // of the connection; nil while it is whole
}

func (t *timedReader) Read(b []byte) (int, error) {
	t.control.SetReadDeadline(time.Now().Add(bodyTimeout)) //nolint:errcheck // where deadlines are not supported there is none
	n, err := t.r.Read(b)
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
func openBody(w http.ResponseWriter, r *http.Request) (*holdsBody, *problem) {
	b := &holdsBody{raw: &timedReader{r: r.Body, control: http.NewResponseController(w)}}
	b.Reader = b.raw
	switch encoding := strings.ToLower(strings.Join(r.Header.Values("Content-Encoding"), ",")); encoding {
	case "", "identity":
		return b, nil
	case "gzip", "x-gzip":
		unpack, err := gzip.NewReader(b.raw)
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
		return problem{status: http.StatusRequestTimeout, message: "no more of the body came within " + bodyTimeout.String()}
	case b.raw.broke != nil:
		return problem{status: statusClientGone, message: "the body broke off: " + b.raw.broke.Error()}
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
