package main

import (
	"context"
	"iter"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/upload"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/events"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/sharded"
	"holdmetrics/ingest/transfers"
	holdpb "holdmetrics/proto"
)

// source is files of rows and the events that they come to.
type source struct {
	events func(ctx context.Context) iter.Seq2[rows.Event, error]
	rows   func() int64
	bad    *upload.BadRows // takes the rows that are passed over; nil: the first bad row ends the reading
	// score works out the pairs on several cores; nil: it cannot. An error that matches
	// [sharded.ErrPlain] means that events has to be called instead. Then nothing has changed.
	score   func(ctx context.Context, terms sharded.Terms) (*sharded.Set, error)
	summary func() *summaries // of the rows, once they are read
	done    func() error      // after success; may be nil
	byBlock bool              // a second is a block
	ledger  *transfers.Ledger // nil: the rows are events
	load    func(ctx context.Context) error
	opening openingFrom
	// snapshots: each time of the rows has the balances of everybody.
	snapshots bool
}

// openingFrom is where a ledger that is imported begins.
type openingFrom int

const (
	fromNothing openingFrom = iota // the server must have no other open balances
	fromFile                       // or what is imported takes the place of other files
	fromServer
)

// begin finds out where an import begins, before anything is sent.
func (s *source) begin(ctx context.Context, query holdpb.HoldMetricsQueryClient, server *connect.Server) error {
	if s.ledger == nil || s.opening == fromFile {
		return nil
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	c := continuing{query: query, ledger: s.ledger}
	var err error
	if s.opening == fromServer {
		err = c.fromServer(ctx, s.snapshots)
	} else {
		err = c.fromNothing(ctx)
	}
	if status.Code(err) != codes.Unknown {
		err = server.Error(err)
	}
	return err
}

// sourceUse is what a command does with a source.
type sourceUse struct {
	read  func(n int)                                       // is called with the bytes read; may be nil
	ids   func() (holders, tokens transfers.IDs, err error) // how ids are normalised; is called if no flag says it
	score bool                                              // events are thrown away after an error
}

// openSource makes the source of a command.
type openSource func(files []string, use sourceUse) (*source, error)

// eventFlags are the flags of 'events', for import and score alike.
func eventFlags(c *cobra.Command) openSource {
	var o readingFlags
	o.flags(c)
	var lenient bool
	var holdID string
	c.Flags().BoolVar(&lenient, "lenient", false, "ignore fields that no event has; those that begin with _ always are")
	c.Flags().StringVar(&holdID, "hold-id-from", "", "`field` that is the hold_id of events without one, such as _id")
	return func(files []string, use sourceUse) (*source, error) {
		if holdID == "" && c.Flags().Changed("hold-id-from") {
			return nil, usage.Errorf("--hold-id-from is empty; name a field")
		}
		bad := &upload.BadRows{Files: files}
		r := &events.Reader{Read: use.read, Bad: bad.AddUnsent, Lenient: lenient, HoldIDFrom: holdID}
		var err error
		if r.Times, r.Numbers, err = o.readers(); err != nil {
			return nil, err
		}
		return &source{
			events: func(ctx context.Context) iter.Seq2[rows.Event, error] { return r.Events(ctx, files...) },
			score: func(ctx context.Context, terms sharded.Terms) (*sharded.Set, error) {
				return r.Score(ctx, terms, files...)
			},
			rows: r.Rows,
			bad:  bad,
			summary: func() *summaries {
				s := new(summaries)
				s.skipped(r.Skipped())
				if n, first := r.Inexact(); n > 0 {
					s.note("%s more digits than a double keeps (first at %s); use weight_exact", printing.Counted(n, "weight has", "weights have"), first)
				}
				return s
			},
		}, nil
	}
}
