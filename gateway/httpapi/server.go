// Package httpapi serves the HTTP API: events, reads, watches, status, metrics, the
// OpenAPI document and the page.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/failure"
	"holdmetrics/gateway/intake"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/gateway/web"
	"holdmetrics/internal/inflate"
	"holdmetrics/internal/logs"
	"holdmetrics/internal/reqid"
	"holdmetrics/internal/scrape"
	"holdmetrics/internal/tracing"
)

const (
	// MaxBodyBytes is the largest body of POST /hold.
	MaxBodyBytes = 64 << 10

	headerTimeout = 10 * time.Second // for a client to send its headers
	bodyTimeout   = 30 * time.Second // for a client to send its body
	idleTimeout   = 2 * time.Minute  // between two requests of a connection

	// streams is how many requests a connection of HTTP/2 may have at once: what is
	// bounded by connections must not grow by streams.
	streams = 100
)

// Config is what an HTTP server is made of. Every field is required, but for Version
// and those from Tracer on.
type Config struct {
	Reads      *query.Service
	Watches    *watch.Hub
	Intake     *intake.Intake
	Status     func(ctx context.Context) (*query.Status, error)
	StreamWait time.Duration       // longest wait of a stream for the next answer of the log
	SendStall  time.Duration       // longest wait for a client to take the next piece of an answer
	Heartbeat  time.Duration       // of a watch that has nothing to send
	Version    string              // shown in the OpenAPI document
	Gatherer   prometheus.Gatherer // what /metrics shows
	Observer   Observer
	Logger     *zap.Logger
	RequestIDs *reqid.Source

	Tracer *tracing.Tracer // nil: requests are not traced

	CORSOrigins []string // whose pages may read
	Names       []string // by which clients reach the server, beside addresses and localhost; see CheckName
	Lenient     bool     // ignore fields of events that no event has

	LogLevel http.Handler // answers at /log/level, and decides who may ask; nil: nobody does

	Bodies int            // bodies of POST /holds that are read at once, at most; 0: DefaultBodies
	Unpack inflate.Limits // of a compressed body; zero: the defaults of package inflate

	Auth *auth.Authenticator // names the callers; nil: everybody may do everything
}

// DefaultBodies is how many bodies of POST /holds are read at once, unless [Config] says
// otherwise.
const DefaultBodies = 256

// Observer counts what goes on. api is http.
type Observer interface {
	watch.Observer
	Request(api, method, code string)
	// Took counts how long a request took that was answered. ctx is that of the request.
	Took(ctx context.Context, api, method string, took time.Duration)
	// FieldsIgnored counts n fields of events that no event has and that were ignored.
	FieldsIgnored(e intake.Endpoint, n int)
}

// Server answers the HTTP API. It is safe for concurrent use.
type Server struct {
	cfg     Config
	handler http.Handler
	served  []string // patterns
	bodies  places   // of POST /holds
	// What watchers share.
	events, settledEvents watch.Encodings
}

// New returns a server of the HTTP API. It fails if a route cannot be registered.
func New(cfg Config) (s *Server, err error) {
	if cfg.Bodies <= 0 {
		cfg.Bodies = DefaultBodies
	}
	if cfg.Unpack == (inflate.Limits{}) {
		cfg.Unpack = inflate.Limits{Free: inflate.DefaultFree, Ratio: inflate.DefaultRatio, Most: inflate.DefaultMost}
	}
	s = &Server{cfg: cfg, bodies: make(places, cfg.Bodies)}
	s.handler, err = s.routes()
	return s, err
}

// Handler answers the HTTP API.
func (s *Server) Handler() http.Handler { return s.handler }

// Routes are the patterns of the paths that the server answers.
func (s *Server) Routes() []string { return slices.Clone(s.served) }

// HTTPServer is [NewHTTPServer] of the HTTP API.
func (s *Server) HTTPServer() *http.Server { return NewHTTPServer(s.handler, s.cfg.Logger) }

// NewHTTPServer returns a server of HTTP with timeouts that let answers stream
// and let no client stay that is silent or does not read. The caller serves it on a
// listener and shuts it down.
func NewHTTPServer(h http.Handler, log *zap.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streams},
		ConnState:         liftDeadline,
		ConnContext:       ofClient,
		ErrorLog:          zap.NewStdLog(log),
	}
}

// ofClient has the reads of a connection know their client.
func ofClient(ctx context.Context, c net.Conn) context.Context {
	return query.WithClient(ctx, query.ClientAt(c.RemoteAddr().String()))
}

// liftDeadline ends the time limit of an answer that has gone out, which would hit what
// the server itself says to the connection's next request.
func liftDeadline(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		_ = c.SetWriteDeadline(time.Time{}) // fails only for a connection that is closed
	}
}

// routes puts the paths together.
func (s *Server) routes() (http.Handler, error) {
	mux := &notingMux{ServeMux: http.NewServeMux()}
	api := humago.New(mux, apiConfig(s.cfg.Version))
	s.addHold(api)
	s.addHolds(api)
	s.addStats(api)
	s.addWatch(api)
	s.addHolder(api)
	s.addScores(api)
	s.addExplain(api)
	s.addHistory(api)
	s.addHealth(api)
	s.addRank(api)
	s.addStatus(api)
	s.addProofs(api)
	documentRequestID(api)
	document, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return nil, err
	}
	page, err := docsPage(api.OpenAPI())
	if err != nil {
		return nil, err
	}
	if err := web.Register(mux); err != nil {
		return nil, err
	}
	mux.Handle("GET /openapi.json", fixed("application/openapi+json", document))
	mux.Handle("GET /docs", fixed("text/html; charset=utf-8", page))
	mux.Handle("GET /redoc", fixed("text/html; charset=utf-8", page)) // another name that clients of the original service have
	mux.Handle("GET /metrics", scrape.Handler(s.cfg.Gatherer, s.cfg.Logger))
	if s.cfg.LogLevel != nil {
		mux.Handle("/log/level", s.cfg.LogLevel)
	}
	for _, pattern := range mux.patterns {
		if auth.RouteNeed(pattern) == auth.Unknown {
			return nil, fmt.Errorf("httpapi: the table of package auth says nothing of what %q needs: add it", pattern)
		}
	}
	s.served = mux.patterns
	if s.cfg.Auth != nil {
		secure(api.OpenAPI())
	}
	return Secured(s.observeHTTP(mux.ServeMux, newCORS(s.cfg.CORSOrigins, api.OpenAPI()), newTrust(s.cfg.Names), tracedPatterns(api.OpenAPI()))), nil
}

// notingMux notes the patterns that it serves.
type notingMux struct {
	*http.ServeMux
	patterns []string
}

// Handle registers a handler.
func (m *notingMux) Handle(pattern string, h http.Handler) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.Handle(pattern, h)
}

// HandleFunc registers a function.
func (m *notingMux) HandleFunc(pattern string, f func(http.ResponseWriter, *http.Request)) {
	m.Handle(pattern, http.HandlerFunc(f))
}

// apiConfig leaves out what huma would serve by itself: its documentation page
// loads scripts from elsewhere, and links to schemas in answers are no part of
// the contract.
func apiConfig(version string) huma.Config {
	if version == "" {
		version = "dev"
	}
	config := huma.DefaultConfig("holdmetrics", version)
	config.Info.Description = "Proof of hold: who held which token, for how long, with what weight. " +
		"Hold events go in, exact scores come out. Figures are exact decimals as strings, with the nearest double beside them where one is of use."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	config.Transformers = append(config.Transformers, identify)
	// A misspelt name would silently answer another question.
	config.RejectUnknownQueryParameters = true
	return config
}

// fixed serves bytes that never change.
func fixed(contentType string, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if contentType != "application/openapi+json" {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		}
		w.Write(body) //nolint:errcheck // the client is gone
	})
}

// observeHTTP answers what no path takes with a problem document, counts requests
// by their pattern, and logs them for debugging.
func (s *Server) observeHTTP(mux *http.ServeMux, origins *cors, trust *trust, traced map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &statusWriter{ResponseWriter: w, control: http.NewResponseController(w), most: s.cfg.SendStall}
		if r.URL.Path == "/hold/" { // the original service took it too
			r.URL.Path, r.URL.RawPath = "/hold", ""
		}
		handler, pattern := mux.Handler(r)
		r, span := s.identify(r, seen, pattern, traced)
		defer func() { endSpan(span, seen.code()) }()
		began := time.Now()
		defer func() { s.observedHTTP(r, pattern, seen, time.Since(began)) }() // also where an answer is cut off
		if f := trust.refuses(r); f != nil {
			writeProblem(seen, *f)
			return
		}
		if origins.serve(seen, r, mux) {
			return
		}
		if pattern == "" {
			noPath(seen, r, handler)
			return
		}
		if s.cfg.Auth != nil {
			called, over := authorize(s.cfg.Auth, seen, r, pattern)
			if called == nil {
				return
			}
			defer over()
			r = called
		}
		if lost := s.cfg.Reads.LostText(); lost != "" {
			seen.Header().Set(query.LostHeader, lost)
		}
		mux.ServeHTTP(seen, r)
		seen.extend() // for what net/http has not written yet
	})
}

func (s *Server) observedHTTP(r *http.Request, pattern string, seen *statusWriter, took time.Duration) {
	status := seen.code()
	if pattern == "" {
		pattern = "none" // a label must not be the client's choice
	}
	s.cfg.Observer.Request("http", pattern, strconv.Itoa(status))
	if !strings.HasSuffix(pattern, "/watch") { // a watch lasts as long as its client wants
		s.cfg.Observer.Took(r.Context(), "http", pattern, took)
	}
	if seen.unread != nil {
		s.cfg.Logger.Warn("answer cut off", append(logs.Request(r.Context()), zap.String("path", r.URL.EscapedPath()), zap.Error(seen.unread))...)
	}
	if s.cfg.Logger.Core().Enabled(zap.DebugLevel) {
		s.cfg.Logger.Debug("HTTP request", append(logs.Request(r.Context()), zap.String("method", r.Method), zap.String("path", r.URL.EscapedPath()), zap.Int("status", status))...)
	}
}

// noPath asks the mux's own answer whether the path or the method was wrong.
func noPath(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	out := discard{http.Header{}}
	probe := &statusWriter{ResponseWriter: out, control: http.NewResponseController(out)}
	handler.ServeHTTP(probe, r)
	if allow := probe.Header().Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		writeProblem(w, problem{status: http.StatusMethodNotAllowed, message: r.Method + " is not among the methods of this path: " + allow})
		return
	}
	writeProblem(w, problem{status: http.StatusNotFound, message: "there is nothing at this path; see /docs"})
}

// statusWriter remembers the status of an answer. It gives the client a time limit for
// each piece, however long the whole takes: a client that reads nothing is cut off
// instead of holding what is written for it.
type statusWriter struct {
	http.ResponseWriter
	control *http.ResponseController // of ResponseWriter
	most    time.Duration            // the time limit
	status  int
	sent    uint64               // bytes of the body
	unread  *failure.UnreadError // the client does not read; nil: nothing is known of that
}

// extend starts the time limit again.
func (w *statusWriter) extend() {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.most)) // some tests' writers have none
}

func (w *statusWriter) Write(b []byte) (int, error) {
	w.extend()
	n, err := w.ResponseWriter.Write(b)
	w.sent += uint64(n)
	return n, w.explained(err)
}

// FlushError lets http.ResponseController flush.
func (w *statusWriter) FlushError() error {
	w.extend()
	return w.explained(w.control.Flush())
}

// explained is the error of a write in words.
func (w *statusWriter) explained(err error) error {
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		return err
	}
	w.unread = &failure.UnreadError{For: w.most, Sent: w.sent, Unit: "bytes", Err: err}
	return w.unread
}

func (w *statusWriter) WriteHeader(status int) {
	w.extend()
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
