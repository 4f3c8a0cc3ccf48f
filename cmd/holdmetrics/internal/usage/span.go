package usage

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdmetrics/ingest"
)

// SpanHelp says how a flag takes a place of the log.
const SpanHelp = "a `position`, or a time of the log: RFC 3339, or now"

// Span is a part of the log, as flags name it.
type Span struct {
	From, To  string
	Partition int // -1: all
}

// Flags adds the flags --from, --to and --partition, which fill the span.
func (s *Span) Flags(f *pflag.FlagSet) {
	f.StringVar(&s.From, "from", "", "begin here: "+SpanHelp)
	f.StringVar(&s.To, "to", "", "end here, this included: "+SpanHelp)
	f.IntVar(&s.Partition, "partition", -1, "of this partition alone (default: all)")
}

// Check says what is wrong with the flags before anybody is asked.
func (s *Span) Check(c *cobra.Command) error {
	for _, name := range []string{"from", "to"} {
		flag := c.Flags().Lookup(name)
		if flag == nil || !flag.Changed {
			continue
		}
		text := flag.Value.String()
		if text == "" {
			return Errorf("--%s is empty; give a position, RFC 3339, or now", name)
		}
		if _, ok := PositionOf(text); ok {
			continue
		}
		if _, err := ParseStamp(name, text, 0); err != nil {
			return err
		}
	}
	if err := s.ordered(); err != nil {
		return err
	}
	if c.Flags().Changed("partition") && s.Partition < 0 {
		return Errorf("--partition %d is negative", s.Partition)
	}
	return nil
}

// ordered returns an error if the span ends before it begins, if that is known
// without the log: of two positions, or two times.
func (s *Span) ordered() error {
	if s.From == "" || s.To == "" {
		return nil
	}
	backwards := Errorf("--to %s is before --from %s", s.To, s.From)
	from, ofFrom := PositionOf(s.From)
	to, ofTo := PositionOf(s.To)
	if ofFrom && ofTo && from > to {
		return backwards
	}
	if ofFrom || ofTo {
		return nil
	}
	now := WallClock()
	begin, err := ParseStamp("from", s.From, now)
	if err != nil {
		return err
	}
	end, err := ParseStamp("to", s.To, now)
	if err != nil {
		return err
	}
	if begin.Seconds > end.Seconds || begin.Seconds == end.Seconds && begin.Nanos > end.Nanos {
		return backwards
	}
	return nil
}

// Resolve finds the positions. A range of which nothing can be is one whose To is
// below its From, see empty.
func (s *Span) Resolve(ctx context.Context, log *ingest.Log) (ingest.Range, error) {
	r := ingest.Range{From: 1}
	if s.Partition >= log.Partitions() {
		return r, NoSuchPartition(s.Partition, log)
	}
	if s.Partition >= 0 {
		r.Partitions = []int{s.Partition}
	}
	var err error
	if s.From != "" {
		if r.From, err = place(ctx, log, "from", s.From, 0); err != nil {
			return r, err
		}
	}
	if s.To != "" {
		r.To, err = place(ctx, log, "to", s.To, 1)
	}
	return r, err
}

// Empty reports whether nothing can be in the range of Resolve.
func (s *Span) Empty(r ingest.Range) bool { return s.To != "" && r.To < max(r.From, 1) }

// place is the position that a text names. For a time it is the first message from
// it on, or with after = 1 the last one up to it.
func place(ctx context.Context, log *ingest.Log, flag, text string, after int64) (uint64, error) {
	if n, ok := PositionOf(text); ok {
		return n, nil
	}
	t, err := ParseStamp(flag, text, WallClock())
	if err != nil {
		return 0, err
	}
	if t.Seconds < 0 || t.Seconds > 1<<33 {
		return 0, Errorf("--%s: %s is not a time that a log can have", flag, text)
	}
	at, err := log.PositionAt(ctx, t.Seconds*1e9+int64(t.Nanos)+after)
	return at - uint64(after), err
}

// PositionOf reads digits alone as a position of the log.
func PositionOf(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

// OneFile is the argument check of a command that takes exactly one file.
func OneFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return errors.New("name one file")
	}
	return nil
}

// OneOrMoreFiles asks for files.
func OneOrMoreFiles(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name the file to read ('-' is the standard input)")
	}
	return nil
}

// PositionText is a position as a column shows it.
func PositionText(n uint64) string { return strconv.FormatUint(n, 10) }

// NoSuchPartition says which partitions there are.
func NoSuchPartition(partition int, log *ingest.Log) error {
	return Errorf("--partition %d: the log has 0 to %d", partition, log.Partitions()-1)
}
