package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/events"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/transfers"
)

// source is files of rows and the events that they come to.
type source struct {
	events func(ctx context.Context) iter.Seq2[rows.Event, error]
	rows   func() int64
	bad    *badRows      // takes the rows that are passed over; nil: the first bad row ends the reading
	notice func() string // what is worth knowing about the rows; may be nil
	done   func() error  // after success; may be nil
}

// tell says what is to be said about the rows, once they are read.
func (s *source) tell(out io.Writer) {
	s.bad.tell(out)
	if s.notice != nil {
		if text := s.notice(); text != "" {
			fmt.Fprintln(out, "holdmetrics: "+text)
		}
	}
}

// openSource makes the source of a command: read is told of the bytes read.
type openSource func(files []string, read func(n int)) (*source, error)

// replacesFlag is the flag of an import that takes the place of another one.
const replacesFlag = "replaces"

// transferFlags are the flags of 'transfers', for import and score alike.
func transferFlags(c *cobra.Command) openSource {
	opt := transfers.Options{Columns: transfers.DefaultColumns()}
	var opening, closing string
	f := c.Flags()
	f.StringVar(&opt.Columns.Token, "token", opt.Columns.Token, "column of the token")
	f.StringVar(&opt.Columns.From, "from", opt.Columns.From, "column of the sender")
	f.StringVar(&opt.Columns.To, "to", opt.Columns.To, "column of the receiver")
	f.StringVar(&opt.Columns.Value, "value", opt.Columns.Value, "column of the value")
	f.StringVar(&opt.Columns.Time, "time", opt.Columns.Time, "column of the time: unix seconds, RFC 3339, or 2021-01-19 16:04:32 UTC")
	f.IntVar(&opt.Decimals, "decimals", 0, "divide the value by 10 to the power of `N` (0 to 18)")
	f.BoolVar(&opt.NFT, "nft", false, "the value column is a token id: each id is a token \"<token>/<id>\" of weight 1")
	f.StringVar(&opening, "opening", "", "`file` of balances to start from, as --closing wrote it")
	f.StringVar(&closing, "closing", "", "`file` to write the balances at the end to (.gz: packed); the one of --opening may be named")
	return func(files []string, read func(n int)) (*source, error) {
		switch {
		case opt.Decimals < 0 || opt.Decimals > transfers.MaxDecimals:
			return nil, usage.Errorf("--decimals %d is not between 0 and %d", opt.Decimals, transfers.MaxDecimals)
		case opt.NFT && opt.Decimals != 0:
			return nil, usage.Errorf("--decimals does not go with --nft: the id of an NFT has no decimals")
		}
		for flag, name := range map[string]string{"opening": opening, "closing": closing} {
			if name == "" && c.Flags().Changed(flag) {
				return nil, usage.Errorf("--%s is empty; name a file", flag)
			}
		}
		if closing != "" {
			if err := transfers.CheckClosing(closing, files...); err != nil {
				return nil, fmt.Errorf("--closing: %w", err)
			}
		}
		opt.Read = read
		ledger, err := openLedger(opt, opening)
		if err != nil {
			return nil, err
		}
		s := &source{
			events: func(ctx context.Context) iter.Seq2[rows.Event, error] { return ledger.Events(ctx, files...) },
			rows:   ledger.Rows,
		}
		if c.Flags().Changed(replacesFlag) {
			abandoned, err := c.Flags().GetStringArray(replacesFlag)
			if err != nil {
				return nil, err
			}
			if files[len(files)-1] == "-" {
				return nil, usage.Errorf("--%s does not go with the standard input: the list of what is retracted is kept beside the last FILE", replacesFlag)
			}
			opt.Read = nil // the bar is of the files that are imported
			old, err := openLedger(opt, opening)
			if err != nil {
				return nil, err
			}
			s.events = func(ctx context.Context) iter.Seq2[rows.Event, error] {
				return ledger.Replace(ctx, old, abandoned, files)
			}
		}
		if closing != "" {
			s.done = func() error {
				if err := ledger.SaveClosing(closing); err != nil {
					return fmt.Errorf("the closing balances were not written: %w", err)
				}
				return nil
			}
		}
		return s, nil
	}
}

func openLedger(opt transfers.Options, opening string) (*transfers.Ledger, error) {
	ledger, err := transfers.New(opt)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	if opening != "" {
		err = ledger.LoadOpening(opening)
	}
	return ledger, err
}

func eventsSource(files []string, read func(n int)) (*source, error) {
	bad := &badRows{files: files}
	r := &events.Reader{Read: read, Bad: bad.addUnsent}
	return &source{
		events: func(ctx context.Context) iter.Seq2[rows.Event, error] { return r.Events(ctx, files...) },
		rows:   r.Rows,
		bad:    bad,
		notice: func() string {
			n, first := r.Inexact()
			if n == 0 {
				return ""
			}
			return fmt.Sprintf("%s more digits than a double keeps (first at %s); use weight_exact", counted(n, "weight has", "weights have"), first)
		},
	}, nil
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
