package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/times"
)

// scoreQuery is what score is asked for.
type scoreQuery struct {
	query
	columns          bool // --from and --to may name columns
	fromText, toText string
	from, to         int64 // ns; of a window
	window           bool
	share            bool
	digits           int
	projected        bool
	explain          string
}

func (q *scoreQuery) flags(c *cobra.Command) {
	q.query.flags(c)
	f := c.Flags()
	f.StringVar(&q.fromText, "from", "", "only what counts from this `time` on")
	f.StringVar(&q.toText, "to", "", "and before this `time`; another name for --as-of")
	f.BoolVar(&q.share, "share", false, "with each row's part of the sum over all holders")
	f.IntVar(&q.digits, "digits", 18, "decimal places of a share, which is rounded down")
	f.BoolVar(&q.projected, "projected", false, "allow a time in the future: open holds stay as they are")
	f.StringVar(&q.explain, "explain", "", "the holds behind this `holder` instead of scores")
}

func (q *scoreQuery) check(c *cobra.Command, now int64) error {
	if err := q.query.check(now); err != nil {
		return err
	}
	if err := checkDigits(c.Flags(), q.digits, q.share); err != nil {
		return err
	}
	switch {
	case q.explain == "" && c.Flags().Changed("explain"):
		return usage.Errorf("--explain is empty; name a holder")
	case q.explain != "" && (q.share || q.byToken):
		return usage.Errorf("--explain shows holds; leave out --share and --by-token")
	}
	hasTo := false
	for _, t := range []struct {
		name, text string
		ns         *int64
		has        *bool
	}{{"from", q.fromText, &q.from, &q.window}, {"to", q.toText, &q.to, &hasTo}} {
		if t.text == "" && c.Flags().Changed(t.name) {
			return usage.Errorf("--%s is empty; give %s", t.name, usage.TimeHelp)
		}
		if q.columns && isColumn(t.text) {
			continue
		}
		ns, has, err := usage.ParseInstant(t.name, t.text, now)
		if err != nil {
			return err
		}
		*t.ns, *t.has = ns, has
	}
	switch {
	case hasTo && q.hasAsOf:
		return usage.Errorf("--to means the same as --as-of; give one of them")
	case hasTo:
		q.asOf, q.hasAsOf = q.to, true
	}
	if q.window && q.hasAsOf && q.asOf < q.from {
		return usage.Errorf("--to is before --from")
	}
	return nil
}

// isColumn reports whether a text of --from or --to cannot be a time.
func isColumn(text string) bool {
	if text == "" || text == "now" {
		return false
	}
	_, err := times.Reader{UTC: true}.Parse(text)
	return err != nil
}

// checkFuture refuses a time that is still to come.
func (q *scoreQuery) checkFuture(out io.Writer, byBlock bool, now int64) error {
	if byBlock || (!q.hasAsOf || q.asOf <= now) && (!q.window || q.from <= now) {
		return nil
	}
	if !q.projected {
		return usage.Errorf("the time asked for is in the future: give --projected to assume that everything stays as it is")
	}
	fmt.Fprintln(out, projectedText)
	return nil
}
