package main

import (
	"context"
	"errors"
	"iter"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/ingest/events"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/transfers"
	holdpb "holdmetrics/proto"
)

// source is files of rows and the events that they come to.
type source struct {
	events  func(ctx context.Context) iter.Seq2[rows.Event, error]
	rows    func() int64
	bad     *badRows          // takes the rows that are passed over; nil: the first bad row ends the reading
	summary func() *summaries // of the rows, once they are read
	done    func() error      // after success; may be nil
	byBlock bool              // a second is a block
	ledger  *transfers.Ledger // nil: the rows are events
	load    func(ctx context.Context) error
	opening openingFrom
}

// openingFrom is where a ledger that is imported begins.
type openingFrom int

const (
	fromNothing openingFrom = iota // the server must have no other open balances
	fromFile                       // or what is imported takes the place of other files
	fromServer
)

// begin finds out where an import begins, before anything is sent.
func (s *source) begin(ctx context.Context, query holdpb.HoldMetricsQueryClient, server string) error {
	if s.ledger == nil || s.opening == fromFile {
		return nil
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	begin := checkContinues
	if s.opening == fromServer {
		begin = appendTo
	}
	err := begin(ctx, query, s.ledger)
	if status.Code(err) != codes.Unknown {
		err = callError(server, err)
	}
	return err
}

// sourceUse is what a command does with a source.
type sourceUse struct {
	read            func(n int)   // is called with the bytes read; may be nil
	holders, tokens transfers.IDs // how ids are normalised, unless a flag says it
	score           bool          // events are thrown away after an error
}

// openSource makes the source of a command.
type openSource func(files []string, use sourceUse) (*source, error)

// eventFlags are the flags of 'events', for import and score alike.
func eventFlags(c *cobra.Command) openSource {
	var o readingFlags
	o.flags(c)
	return func(files []string, use sourceUse) (*source, error) {
		bad := &badRows{files: files}
		r := &events.Reader{Read: use.read, Bad: bad.addUnsent}
		var err error
		if r.Times, r.Numbers, err = o.readers(); err != nil {
			return nil, err
		}
		return &source{
			events: func(ctx context.Context) iter.Seq2[rows.Event, error] { return r.Events(ctx, files...) },
			rows:   r.Rows,
			bad:    bad,
			summary: func() *summaries {
				s := new(summaries)
				if n, first := r.Inexact(); n > 0 {
					s.note("%s more digits than a double keeps (first at %s); use weight_exact", counted(n, "weight has", "weights have"), first)
				}
				return s
			},
		}, nil
	}
}

// progress shows how much of the files was read, on a terminal alone.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(c *cobra.Command, files []string) *progress {
	var total int64
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			total = -1 // a spinner instead of a bar
			break
		}
		total += info.Size()
	}
	return newBar(c, "reading", total)
}

// newBar shows how many bytes were done, of so many; -1: nobody knows.
func newBar(c *cobra.Command, what string, total int64) *progress {
	return startBar(c, what, total, progressbar.OptionShowBytes(true))
}

// newCountBar shows how many of so many things were done.
func newCountBar(c *cobra.Command, what string, total int64) *progress {
	return startBar(c, what, total, progressbar.OptionShowCount(), progressbar.OptionShowIts())
}

func startBar(c *cobra.Command, what string, total int64, options ...progressbar.Option) *progress {
	p := new(progress)
	out := c.ErrOrStderr()
	if !isTerminal(out) {
		return p
	}
	p.bar = progressbar.NewOptions64(total, append(options,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(what),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond),
	)...)
	return p
}

// isTerminal says whether a stream is one that somebody sits at.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// add says that n more bytes were read.
func (p *progress) add(n int) {
	if p.bar != nil {
		_ = p.bar.Add(n) // a bar that cannot be drawn stops nothing
	}
}

// clear takes the bar off the terminal.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// interrupted says it in words where that is what ended a command.
func interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}
