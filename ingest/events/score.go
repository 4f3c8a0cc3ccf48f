package events

import (
	"context"
	"io"
	"math/bits"
	"slices"
	"strings"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/sharded"
)

// Score reads the files on several cores and returns the pairs that they come to. The
// error matches [sharded.ErrPlain] if that takes [Reader.Events], as with every bad row;
// then the reader has not changed. Files are read twice if the holds of a pair do not
// follow one another.
func (r *Reader) Score(ctx context.Context, c sharded.Terms, files ...string) (*sharded.Set, error) {
	if r.HoldIDFrom != "" || slices.Contains(files, "-") {
		return nil, sharded.ErrPlain
	}
	progress := rows.NewProgress(r.Read)
	config := sharded.Config{Terms: c, Holder: func(spelling string) (sharded.Name, error) {
		if hold.CheckID("", spelling) != nil {
			return sharded.Name{}, sharded.ErrPlain
		}
		id := c.Rules.Holder(spelling)
		return sharded.Name{ID: id, Excluded: c.Rules.Excluded(id)}, nil
	}}
	set, err := r.scoreAll(ctx, &c, config, progress, files)
	if err != nil && !sharded.Follows(err) {
		progress.Again()
		config.KeepRows = true
		set, err = r.scoreAll(ctx, &c, config, progress, files)
	}
	return set, err
}

func (r *Reader) scoreAll(ctx context.Context, c *sharded.Terms, config sharded.Config, progress *rows.Progress, files []string) (*sharded.Set, error) {
	set := sharded.New(config)
	reader := set.Reader()
	for _, name := range files {
		if err := r.scoreFile(ctx, c, set, reader, progress, name); err != nil {
			return nil, err
		}
	}
	return set, set.Finish(c.Question.At)
}

func (r *Reader) scoreFile(ctx context.Context, c *sharded.Terms, set *sharded.Set, reader *sharded.Reader, progress *rows.Progress, name string) error {
	f, err := rows.Open(name, progress.Add)
	if err != nil {
		return sharded.ErrPlain
	}
	defer f.Close()
	if kind, err := f.Kind(); err != nil || kind != rows.CSV {
		return sharded.ErrPlain
	}
	table, err := rows.NewTable(f)
	if err != nil {
		return sharded.ErrPlain
	}
	defer table.Close()
	columns, err := r.columnsOf(f, table)
	if err != nil || slices.Contains(columns.skipped, true) {
		return sharded.ErrPlain
	}
	blocks := table.Blocks()
	if blocks == nil {
		return sharded.ErrPlain
	}
	job := &tableJob{blocks: blocks}
	for range c.Cores {
		job.parsers = append(job.parsers, r.parser(c, set, table.Header(), blocks.Reader()))
	}
	return reader.Read(ctx, job)
}

// tableJob parses the rows of a table.
type tableJob struct {
	blocks  *rows.Blocks
	parsers []*parser
}

// Next reads the next block.
func (j *tableJob) Next(buf []byte) (rows.Block, []byte, error) { return j.blocks.Next(buf) }

// Join does nothing: rows do not depend on one another.
func (j *tableJob) Join(int) error { return nil }

// Shard does nothing.
func (j *tableJob) Shard(int, int) error { return nil }

// Parse parses a block.
func (j *tableJob) Parse(worker, _ int, block rows.Block, into *sharded.Batch) error {
	p := j.parsers[worker]
	p.rows.Reset(block)
	for {
		row, _, err := p.rows.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return sharded.ErrPlain
		}
		done, err := p.quick(row, into)
		if err == nil && !done {
			err = p.parse(row, into)
		}
		if err != nil {
			return err
		}
	}
}

// parser parses rows for a set. Each goroutine has its own.
type parser struct {
	r      *Reader
	c      *sharded.Terms
	set    *sharded.Set
	rows   *rows.BlockReader
	header []string

	token, holder, start, end, weight int // columns; -1: there is none
	others                            []int

	tokens map[string]known
	last   known // rows of one token stand together
}

// known is a token that was seen.
type known struct {
	spelling string
	number   uint32
}

func (r *Reader) parser(c *sharded.Terms, set *sharded.Set, header []string, from *rows.BlockReader) *parser {
	p := &parser{r: r, c: c, set: set, rows: from, header: header, tokens: map[string]known{}}
	p.token, p.holder = slices.Index(header, "token_id"), slices.Index(header, "holder_id")
	p.start, p.end, p.weight = slices.Index(header, "start"), slices.Index(header, "end"), slices.Index(header, "weight")
	for _, name := range []string{"weight_exact", "hold_id", "revision", "retract"} {
		if i := slices.Index(header, name); i >= 0 {
			p.others = append(p.others, i)
		}
	}
	return p
}

// quick adds the hold of a row of the commonest kind, or reports false.
func (p *parser) quick(row []string, into *sharded.Batch) (bool, error) {
	if p.start < 0 || p.end < 0 {
		return false, nil
	}
	for _, i := range p.others {
		if row[i] != "" {
			return false, nil
		}
	}
	start, ok := p.r.Times.Quick(row[p.start])
	if !ok || start > p.c.Now {
		return false, nil
	}
	end := int64(0)
	if text := row[p.end]; text != "" {
		if end, ok = p.r.Times.Quick(text); !ok || end > p.c.Now || end < start {
			return false, nil
		}
	}
	w, weighted := hold.Weight{}, false
	if p.weight >= 0 && row[p.weight] != "" {
		if w, weighted = quickWeight(row[p.weight], p.r.Numbers.Thousands); !weighted {
			return false, nil
		}
	}
	token, err := p.tokenOf(row[p.token])
	if err != nil {
		return false, err
	}
	return into.Hold(token, row[p.holder], start, end, &w, weighted), nil
}

// quickWeight reads a plain number with so few digits that the double nearest to it means
// the same.
func quickWeight(s, thousands string) (w hold.Weight, ok bool) {
	if len(s) > sureDigits || thousands != "" {
		return w, false
	}
	n, point := uint64(0), -1
	for i := range len(s) {
		if c := s[i] - '0'; c <= 9 {
			n = n*10 + uint64(c)
		} else if s[i] == '.' && point < 0 && i > 0 && i < len(s)-1 {
			point = i
		} else {
			return w, false
		}
	}
	places := 0
	if point >= 0 {
		places = len(s) - 1 - point
	}
	w[1], w[0] = bits.Mul64(n, powers[18-places])
	return w, true
}

var powers = func() (p [19]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// tokenOf returns the number of a token.
func (p *parser) tokenOf(spelling string) (uint32, error) {
	if spelling == p.last.spelling && spelling != "" {
		return p.last.number, nil
	}
	k, ok := p.tokens[spelling]
	if !ok {
		if hold.CheckID("", spelling) != nil {
			return 0, sharded.ErrPlain
		}
		k.spelling = strings.Clone(spelling)
		var err error
		if k.number, err = p.set.Token(p.c.Rules.Token(k.spelling)); err != nil {
			return 0, err
		}
		p.tokens[k.spelling] = k
	}
	p.last = k
	return k.number, nil
}

// parse adds the event of a row without a hold_id.
func (p *parser) parse(row []string, into *sharded.Batch) error {
	var d hold.Draft
	for i, text := range row {
		if p.r.set(&d, p.header[i], text) != nil {
			return sharded.ErrPlain
		}
	}
	if p.weight >= 0 && d.WeightExact == "" && !isDouble(row[p.weight]) {
		return sharded.ErrPlain
	}
	return p.add(&d, into)
}

func (p *parser) add(d *hold.Draft, into *sharded.Batch) error {
	if d.HoldID != "" || p.r.tidy(d) != nil {
		return sharded.ErrPlain
	}
	e, err := d.Check(p.c.Now, p.c.Limits)
	if err != nil || e.IsStop() && e.HasWeight {
		return sharded.ErrPlain // of a stop with a weight the other holds have to be known
	}
	token, err := p.tokenOf(d.Token)
	if err == nil && !into.Event(token, d.Holder, &e) {
		err = sharded.ErrPlain
	}
	return err
}
