package logging

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"go.uber.org/zap/zapcore"

	"holdmetrics/internal/logs"
	"holdmetrics/internal/reqid"
)

// Path is where the level is read and changed by HTTP.
const Path = "/log/level"

// mostLevelBytes bounds the body of a request.
const mostLevelBytes = 1 << 10

// levels are those that can be asked for.
var levels = map[string]zapcore.Level{
	"debug": zapcore.DebugLevel, "info": zapcore.InfoLevel, "warn": zapcore.WarnLevel, "error": zapcore.ErrorLevel,
}

// state is the body of a request and of its answer.
type state struct {
	Level string `json:"level"`
}

// ServeHTTP answers GET with the level, and PUT with a new one. A caller can fill the disk
// of the log, so not everybody may be one; see [Local].
func (l *Level) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPut:
		var wanted state
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostLevelBytes))
		if err == nil {
			err = json.Unmarshal(body, &wanted)
		}
		to, known := levels[wanted.Level]
		if err != nil || !known {
			refuse(w, http.StatusUnprocessableEntity, fmt.Sprintf("%.20q is no level: send {\"level\": \"debug\"}, or info, warn or error", wanted.Level))
			return
		}
		l.set(to, r.RemoteAddr, logs.Request(r.Context())...)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT")
		refuse(w, http.StatusMethodNotAllowed, r.Method+" is not among the methods of this path: GET, HEAD, PUT")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(state{l.Get().String()}) // the client is gone
}

// Local lets only requests from this machine through. A request that a proxy passed on is
// none.
func Local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromLoopback(r) {
			refuse(w, http.StatusForbidden, "the log level is changed from the machine itself: ask a loopback address there")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func fromLoopback(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// refuse answers with a problem document.
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		RequestID string `json:"request_id,omitempty"`
	}{http.StatusText(status), status, detail, w.Header().Get(reqid.Header)})
}
