package logcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// NewDLQ returns the command dlq, which lists, resends and drops dead letters.
func NewDLQ() *cobra.Command {
	c := &cobra.Command{
		Use:   "dlq",
		Short: "List, resend and drop dead letters",
		Long: `A dead letter is an event that is in the log and was refused, with its reason. Its
name is PARTITION.SEQUENCE.INDEX: the message of the log, and the place of the event
in it. Dead letters are kept in NATS; serve listens there too.

A dead letter is open until a retry succeeds, or until it is dropped. A resolved dead
letter leaves a tombstone, so a replay does not create it again. The tombstone has no
bytes of the event; the log keeps them.`,
	}
	connect.NATSFlags(c)
	c.AddCommand(newDLQList(), newDLQShow(), newDLQRetry(), newDLQDrop())
	return c
}

// letterQuery selects dead letters.
type deadLetterQuery struct {
	span                  usage.Span
	ids                   []string
	reason, field, holder string
	all                   bool
	resolved              bool // those that are resolved too
}

func (q *deadLetterQuery) flags(c *cobra.Command) {
	f := c.Flags()
	q.span.Flags(f)
	f.StringVar(&q.reason, "reason", "", "of this kind (such as future; 'dlq list --count' names them), or with this `text` in the reason")
	f.StringVar(&q.field, "field", "", "that were refused for this `field`, such as start")
	f.StringVar(&q.holder, "holder", "", "of this holder, if the event can be read")
}

// given reports whether any dead letter was named or described.
func (q *deadLetterQuery) given(c *cobra.Command) bool {
	for _, name := range []string{"from", "to", "partition", "reason", "field", "holder", "all"} {
		if c.Flags().Changed(name) {
			return true
		}
	}
	return len(q.ids) > 0
}

func (q *deadLetterQuery) check(c *cobra.Command) error {
	for _, name := range []string{"reason", "field", "holder"} {
		if flag := c.Flags().Lookup(name); flag.Changed && flag.Value.String() == "" {
			return usage.Errorf("--%s is empty; leave it out where it is not given", name)
		}
	}
	for _, id := range q.ids {
		if _, err := ingest.ParseDeadLetterID(id); err != nil {
			return usage.Wrap(err)
		}
	}
	return q.span.Check(c)
}

// deadLetters yields the selected dead letters.
func (q *deadLetterQuery) deadLetters(ctx context.Context, log *ingest.Log) iter.Seq2[ingest.DeadLetter, error] {
	return func(yield func(ingest.DeadLetter, error) bool) {
		within, err := q.span.Resolve(ctx, log)
		if err != nil {
			yield(ingest.DeadLetter{}, err)
			return
		}
		source := log.DeadLetters().All(ctx)
		if len(q.ids) > 0 {
			source = q.named(ctx, log)
		}
		for d, err := range source {
			if err != nil {
				yield(d, printing.Interrupted(err))
				return
			}
			if q.wants(ctx, log, &d, within) && !yield(d, nil) {
				return
			}
		}
	}
}

// sortedMost is how many dead letters are sorted together, in memory.
const sortedMost = 50_000

// sorted yields the selected dead letters in the order of the log. They were stored in
// about that order, since a worker sends many of them at once.
func (q *deadLetterQuery) sorted(ctx context.Context, log *ingest.Log) iter.Seq2[ingest.DeadLetter, error] {
	return inBlocks(q.deadLetters(ctx, log), sortedMost, len(q.ids) == 0)
}

// inBlocks yields dead letters in blocks of that many, each sorted if sort is true.
// It yields none after an error.
func inBlocks(deadLetters iter.Seq2[ingest.DeadLetter, error], most int, sort bool) iter.Seq2[ingest.DeadLetter, error] {
	return func(yield func(ingest.DeadLetter, error) bool) {
		var block []ingest.DeadLetter
		give := func() bool {
			if sort {
				slices.SortStableFunc(block, func(a, b ingest.DeadLetter) int {
					return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Index, b.Index))
				})
			}
			for _, d := range block {
				if !yield(d, nil) {
					return false
				}
			}
			block = block[:0]
			return true
		}
		for d, err := range deadLetters {
			if err != nil {
				if give() {
					yield(d, err)
				}
				return
			}
			if block = append(block, d); len(block) == most && !give() {
				return
			}
		}
		give()
	}
}

func (q *deadLetterQuery) named(ctx context.Context, log *ingest.Log) iter.Seq2[ingest.DeadLetter, error] {
	return func(yield func(ingest.DeadLetter, error) bool) {
		for _, id := range q.ids {
			name, err := ingest.ParseDeadLetterID(id)
			if err == nil {
				name, err = log.DeadLetters().Get(ctx, name)
			}
			if !yield(name, err) || err != nil {
				return
			}
		}
	}
}

func (q *deadLetterQuery) wants(ctx context.Context, log *ingest.Log, d *ingest.DeadLetter, within ingest.Range) bool {
	switch {
	case d.Outcome != "" && !q.resolved,
		q.span.Partition >= 0 && d.Partition != q.span.Partition,
		q.span.From != "" && d.Sequence < within.From,
		q.span.To != "" && d.Sequence > within.To,
		q.field != "" && d.Field != q.field,
		q.reason != "" && d.Kind != q.reason && !strings.Contains(d.Reason, q.reason):
		return false
	}
	if q.holder == "" {
		return true
	}
	draft, err := eventOf(ctx, log, d)
	return err == nil && draft.Holder == q.holder
}

// eventOf reads the event of a dead letter, from the log if the dead letter was cut.
func eventOf(ctx context.Context, log *ingest.Log, d *ingest.DeadLetter) (hold.Draft, error) {
	var draft hold.Draft
	whole, err := log.DeadLetters().Whole(ctx, *d)
	if err == nil {
		err = whole.Decode(&draft)
	}
	return draft, err
}

func newDLQDrop() *cobra.Command {
	var q deadLetterQuery
	var yes bool
	c := &cobra.Command{
		Use:   "drop [ID...]",
		Short: "Drop dead letters",
		Long: `Drop resolves the dead letters that are named, or that match all filters. The events
stay in the log, where 'holdmetrics log' shows them with the reason.`,
		Example: `  holdmetrics dlq drop 3.1207.0
  holdmetrics dlq drop --reason malformed --to 2026-01-01T00:00:00Z --yes`,
	}
	q.flags(c)
	c.Flags().BoolVar(&q.all, "all", false, "all that are open")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.RunE = func(c *cobra.Command, ids []string) error {
		q.ids = ids
		if err := q.check(c); err != nil {
			return err
		}
		if !q.given(c) {
			return usage.Errorf("name the dead letters, or describe them with filters, or pass --all")
		}
		return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error {
			return drop(ctx, c, log, &q, yes)
		})
	}
	return c
}

func drop(ctx context.Context, c *cobra.Command, log *ingest.Log, q *deadLetterQuery, yes bool) error {
	var found []ingest.DeadLetter
	for d, err := range q.deadLetters(ctx, log) {
		if err != nil {
			return err
		}
		d.Data = nil // only its name is needed
		found = append(found, d)
	}
	count := printing.Counted(int64(len(found)), "dead letter", "dead letters")
	if len(found) > 0 && !yes {
		if err := confirm(c, "drop "+count+"?"); err != nil {
			return err
		}
	}
	dropped, err := log.DeadLetters().ResolveAll(ctx, found, ingest.DeadLetterDropped)
	if err != nil {
		return fmt.Errorf("%w; %d of %s dropped, and running this again drops the rest", printing.Interrupted(err), dropped, count)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "dropped %s\n", count)
	return err
}

// errNotConfirmed: nobody said yes.
var errNotConfirmed = errors.New("nothing was done")

// confirm asks on the terminal; without a terminal, --yes is needed.
func confirm(c *cobra.Command, question string) error {
	if !printing.IsTerminal(c.InOrStdin()) {
		return usage.Errorf("%s There is no terminal to ask on; pass --yes", question)
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(c.InOrStdin(), &answer) // no answer is no
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return errNotConfirmed
	}
	return nil
}
