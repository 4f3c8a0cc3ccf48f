package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"

	"holdmetrics/gateway/failure"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/logs"
	"holdmetrics/projection"
)

// watchInput is the request of GET /stats/watch.
type watchInput struct {
	Holders  string `query:"holders" doc:"These holders alone, separated by commas, known or not yet" example:"alice,bob"`
	Holder   string `query:"holder" doc:"This holder alone, whatever its id"`
	Live     bool   `query:"live" doc:"Also changes that leave the settled figures as they are, and the live figures in every event"`
	Interval string `query:"interval" doc:"Least time between two updates of one holder, such as 500ms or 2s, up to 1h" example:"1s"`
	After    uint64 `query:"after" doc:"Wait until this position of the log is in the snapshots"`
	LastID   string `header:"Last-Event-ID" doc:"Go on from there; browsers send it by themselves when they connect again"`
}

func (s *Server) addWatch(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "watch-stats",
		Method:      http.MethodGet,
		Path:        "/stats/watch",
		Summary:     "Watch snapshots as Server-Sent Events",
		Description: "An event stat for each current snapshot, whose data is a row of GET /stats; then an event complete, which says how many there were; then an event stat for each change, and gone where a holder's snapshot was removed. " +
			"A slow client gets the latest value of each holder, once, however often it changed. An id says what a client has all of: " +
			"a client that comes again with it (Last-Event-ID) gets what changed since, as long as the server runs and answers from the same generation; else everything again. " +
			"When another generation becomes the active one, each of its holders is sent, once, and gone for those that it lacks. Lines that begin with a colon say that the connection lives. " +
			"A client that does not read is closed. The holder named watch is read at /scores?holder=watch.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The events, without end",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
		Errors: []int{http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout},
	}, s.getWatch)
}

func (s *Server) getWatch(ctx context.Context, in *watchInput) (*huma.StreamResponse, error) {
	q := watch.Query{
		StatsQuery: query.StatsQuery{Holders: holdersIn(in.Holders, in.Holder), After: in.After}, Live: in.Live,
		From: in.LastID, Heartbeat: s.cfg.Heartbeat,
	}
	var err error
	if in.Interval != "" {
		if q.Every, err = time.ParseDuration(in.Interval); err != nil {
			err = &hold.FieldError{Field: "min_interval", Err: query.ErrRange, Detail: "it is a duration such as 500ms"}
		}
	}
	if err == nil {
		err = q.Check()
	}
	if err == nil {
		err = s.cfg.Reads.Await(ctx, &q.StatsQuery)
	}
	if err != nil {
		return nil, s.fail(ctx, httpField(httpField(err, "holder_ids", "holders"), "min_interval", "interval"), "query")
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humago.Unwrap(hctx)
		s.serveWatch(ctx, &q, w)
	}}, nil
}

func (s *Server) serveWatch(ctx context.Context, q *watch.Query, w http.ResponseWriter) {
	ended := s.cfg.Observer.WatchOpened("http")
	defer ended()
	sink := &httpWatch{s: s, w: w, control: http.NewResponseController(w), live: q.Live}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no") // or a proxy may keep events back
	err := s.cfg.Watches.Watch(ctx, q, sink)
	switch {
	case errors.Is(err, failure.ErrUnread):
		s.cfg.Observer.WatchStalled("http")
		panic(http.ErrAbortHandler)
	case errors.Is(err, watch.ErrTooMany): // nothing was sent
		s.writeFailure(ctx, w, err, "query")
	case errors.Is(err, query.ErrDraining), ctx.Err() != nil:
	default:
		s.cfg.Logger.Debug("watch ended", append(logs.Request(ctx), zap.Error(err))...)
	}
}

// watchEvent is a change as an event of SSE. What is settled is the same at any time.
func (s *Server) watchEvent(b *query.Generation, c *projection.Change, live bool, seenAt int64) ([]byte, error) {
	now := s.cfg.Reads.Now()
	shared := &s.events
	if !live {
		shared, seenAt = &s.settledEvents, 0
	}
	if c.Gone {
		return goneEvent(c.Key)
	}
	return shared.Of(b.Serial, c.Number, now, seenAt, func() ([]byte, error) {
		read, err := b.ReadChange(c, now)
		if err != nil {
			return nil, err
		}
		row, err := rowOf(&read)
		if err != nil {
			return nil, err
		}
		if !live {
			row.LiveScore, row.LiveScoreDouble, row.LiveHeld, row.AsOf = "", nil, "", nil
		}
		return event("stat", row)
	})
}

// goneHolder is the data of an event that says that a holder has gone.
type goneHolder struct {
	HolderID string `json:"holder_id"`
}

func goneEvent(key string) ([]byte, error) {
	holder, err := ingest.HolderOf(key)
	if err != nil {
		return nil, err
	}
	return event("gone", goneHolder{holder})
}

// event is an event of SSE with its data in one line.
func event(name string, data any) ([]byte, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len("event: \ndata: \n\n")+len(name)+len(text))
	b = append(append(b, "event: "...), name...)
	b = append(append(b, "\ndata: "...), text...)
	return append(b, "\n\n"...), nil
}

// httpWatch is the client's end of a watch by SSE. It keeps no buffer of its own:
// there may be ten thousand of it.
type httpWatch struct {
	s       *Server
	w       http.ResponseWriter
	control *http.ResponseController
	live    bool
	sent    int // since the last round ended
}

func (w *httpWatch) write(b []byte) error {
	_, err := w.w.Write(b)
	return err
}

func (w *httpWatch) Update(b *query.Generation, c *projection.Change, seenAt int64) error {
	text, err := w.s.watchEvent(b, c, w.live, seenAt)
	if err != nil {
		return err
	}
	w.sent++
	return w.write(text)
}

// completeMark is the data of the event complete.
type completeMark struct {
	Holders int       `json:"holders"` // sent before the mark
	Resumed bool      `json:"resumed"`
	AsOf    time.Time `json:"as_of"`
}

func (w *httpWatch) Complete(resumed bool) error {
	b, err := event("complete", completeMark{w.sent, resumed, query.TimeOf(w.s.cfg.Reads.Now())})
	if err != nil {
		return err
	}
	return w.write(b)
}

func (w *httpWatch) EndRound(b *query.Generation, point watch.Point) error {
	w.s.cfg.Observer.WatchSent("http", w.sent)
	w.sent = 0
	if err := w.write([]byte("id: " + watch.PointID(b, point) + "\n\n")); err != nil {
		return err
	}
	return w.control.Flush()
}

func (w *httpWatch) Heartbeat() error {
	if err := w.write([]byte(":\n\n")); err != nil {
		return err
	}
	return w.control.Flush()
}
