package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
)

// spanHelp says how a flag takes a place of the log.
const spanHelp = "a `position`, or a time of the log: RFC 3339, or now"

// span is a part of the log, as flags name it.
type span struct {
	from, to  string
	partition int // -1: all
}

func (s *span) flags(f *pflag.FlagSet) {
	f.StringVar(&s.from, "from", "", "begin here: "+spanHelp)
	f.StringVar(&s.to, "to", "", "end here, this included: "+spanHelp)
	f.IntVar(&s.partition, "partition", -1, "of this partition alone (default: all)")
}

// check says what is wrong with the flags before anybody is asked.
func (s *span) check(c *cobra.Command) error {
	for _, name := range []string{"from", "to"} {
		flag := c.Flags().Lookup(name)
		if flag == nil || !flag.Changed {
			continue
		}
		text := flag.Value.String()
		if text == "" {
			return usage.Errorf("--%s is empty; give a position, RFC 3339, or now", name)
		}
		if _, ok := positionOf(text); ok {
			continue
		}
		if _, err := parseStamp(name, text, 0); err != nil {
			return err
		}
	}
	if err := s.ordered(); err != nil {
		return err
	}
	if c.Flags().Changed("partition") && s.partition < 0 {
		return usage.Errorf("--partition %d is negative", s.partition)
	}
	return nil
}

// ordered says whether the span ends before it begins, as far as that is known
// without the log: of two positions, or two times.
func (s *span) ordered() error {
	if s.from == "" || s.to == "" {
		return nil
	}
	backwards := usage.Errorf("--to %s is before --from %s", s.to, s.from)
	from, ofFrom := positionOf(s.from)
	to, ofTo := positionOf(s.to)
	if ofFrom && ofTo && from > to {
		return backwards
	}
	if ofFrom || ofTo {
		return nil
	}
	now := wallClock()
	begin, err := parseStamp("from", s.from, now)
	if err != nil {
		return err
	}
	end, err := parseStamp("to", s.to, now)
	if err != nil {
		return err
	}
	if begin.Seconds > end.Seconds || begin.Seconds == end.Seconds && begin.Nanos > end.Nanos {
		return backwards
	}
	return nil
}

// resolve finds the positions. A range of which nothing can be is one whose To is
// below its From, see empty.
func (s *span) resolve(ctx context.Context, log *ingest.Log) (ingest.Range, error) {
	r := ingest.Range{From: 1}
	if s.partition >= log.Partitions() {
		return r, noSuchPartition(s.partition, log)
	}
	if s.partition >= 0 {
		r.Partitions = []int{s.partition}
	}
	var err error
	if s.from != "" {
		if r.From, err = place(ctx, log, "from", s.from, 0); err != nil {
			return r, err
		}
	}
	if s.to != "" {
		r.To, err = place(ctx, log, "to", s.to, 1)
	}
	return r, err
}

// empty says whether nothing can be in the range of resolve.
func (s *span) empty(r ingest.Range) bool { return s.to != "" && r.To < max(r.From, 1) }

// place is the position that a text names. For a time it is the first message from
// it on, or with after = 1 the last one up to it.
func place(ctx context.Context, log *ingest.Log, flag, text string, after int64) (uint64, error) {
	if n, ok := positionOf(text); ok {
		return n, nil
	}
	t, err := parseStamp(flag, text, wallClock())
	if err != nil {
		return 0, err
	}
	if t.Seconds < 0 || t.Seconds > 1<<33 {
		return 0, usage.Errorf("--%s: %s is not a time that a log can have", flag, text)
	}
	at, err := log.PositionAt(ctx, t.Seconds*1e9+int64(t.Nanos)+after)
	return at - uint64(after), err
}

// positionOf reads digits alone as a position of the log.
func positionOf(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}
