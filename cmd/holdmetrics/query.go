package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdmetrics/processor/hold"
)

// query is what stats and score are asked for.
type query struct {
	set      *pflag.FlagSet
	asOfText string
	asOf     int64 // ns
	hasAsOf  bool
	byToken  bool
	format   string
}

func (q *query) flags(c *cobra.Command) {
	f := c.Flags()
	q.set = f
	f.StringVar(&q.asOfText, "as-of", "", "score as of this `time`: "+timeHelp+" (default: now)")
	f.BoolVar(&q.byToken, "by-token", false, "a row for each token of a holder")
	f.StringVar(&q.format, "format", "table", "table, csv or json")
}

func (q *query) check(now int64) (err error) {
	if err := checkFormat(q.format); err != nil {
		return err
	}
	if q.asOfText == "" && q.set.Changed("as-of") {
		return usagef("--as-of is empty; give %s", timeHelp)
	}
	q.asOf, q.hasAsOf, err = parseAsOf(q.asOfText, now)
	return err
}

// limitFlags say how far ahead of the clock events may reach.
func limitFlags(f *pflag.FlagSet, limits *hold.Limits) {
	f.Var((*nanoseconds)(&limits.MaxClockSkew), "max-clock-skew", "how far ahead of the clock a start may be")
	f.Var((*nanoseconds)(&limits.MaxFutureEnd), "max-future-end", "how far ahead of the clock an end may be; raise it for locks and vesting")
}
