package events

import (
	"cmp"
	"context"
	"io"
	"math/bits"
	"slices"
	"strings"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/sharded"
)

// Score reads the files on several cores and returns the pairs that they come to. The
// error matches [sharded.ErrPlain] if that takes [Reader.Events], as with every bad row;
// then the reader has not changed. Files are read twice if the holds of a pair do not
// follow one another.
func (r *Reader) Score(ctx context.Context, c sharded.Terms, files ...string) (*sharded.Set, error) {
	if r.HoldIDFrom != "" || !rows.Regular(files...) {
		return nil, sharded.ErrPlain
	}
	s := &scoring{r: r, progress: rows.NewProgress(r.Read), config: sharded.Config{Terms: c, Holder: func(spelling string) (sharded.Name, error) {
		if hold.CheckID("", spelling) != nil {
			return sharded.Name{}, sharded.ErrPlain
		}
		id := c.Rules.Holder(spelling)
		return sharded.Name{ID: id, Excluded: c.Rules.Excluded(id)}, nil
	}}}
	err := s.readAll(ctx, files)
	if err != nil && !sharded.Follows(err) {
		s.progress.Again()
		s.config.KeepRows = true
		err = s.readAll(ctx, files)
	}
	if err != nil {
		return nil, err
	}
	return s.set, s.keepSkipped()
}

// scoring is the reading of files on several cores.
type scoring struct {
	r        *Reader
	progress *rows.Progress
	config   sharded.Config
	set      *sharded.Set
	parsers  []*parser
}

func (s *scoring) readAll(ctx context.Context, files []string) error {
	s.set, s.parsers = sharded.New(s.config), nil
	for range s.config.Cores {
		s.parsers = append(s.parsers, s.newParser())
	}
	reader := s.set.Reader()
	for _, name := range files {
		if err := s.readFile(ctx, reader, name); err != nil {
			return err
		}
	}
	return s.set.Finish(s.config.Question.At)
}

func (s *scoring) readFile(ctx context.Context, reader *sharded.Reader, name string) error {
	f, err := rows.Open(name, s.progress.Add)
	if err != nil {
		return sharded.ErrPlain
	}
	defer f.Close()
	kind, err := f.Kind()
	switch {
	case err != nil:
		return sharded.ErrPlain
	case kind == rows.JSON && rows.LooksLikeLines(f):
		for _, p := range s.parsers {
			p.file++
		}
		return reader.Read(ctx, &lineJob{job{s, rows.NewLineBlocks(f)}})
	case kind == rows.JSON:
		return sharded.ErrPlain
	}
	table, err := rows.NewTable(f)
	if err != nil {
		return sharded.ErrPlain
	}
	defer table.Close()
	columns, err := s.r.columnsOf(f, table)
	if err != nil {
		return sharded.ErrPlain
	}
	blocks := table.Blocks()
	if blocks == nil {
		return sharded.ErrPlain
	}
	for _, p := range s.parsers {
		p.file++
		p.open(table.Header(), columns.skipped, blocks.Reader())
	}
	return reader.Read(ctx, &tableJob{job{s, blocks}})
}

// keepSkipped has the reader know the columns that were passed over.
func (s *scoring) keepSkipped() error {
	var all []skippedAt
	for _, p := range s.parsers {
		all = append(all, p.skipped...)
	}
	slices.SortFunc(all, func(a, b skippedAt) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.place, b.place))
	})
	var merged []Skipped
	for i := range all {
		if j := slices.IndexFunc(merged, func(m Skipped) bool { return m.Name == all[i].Name }); j >= 0 {
			merged[j].Count += all[i].Count
		} else {
			merged = append(merged, all[i].Skipped)
		}
	}
	if len(merged) > maxSkipped {
		return sharded.ErrPlain
	}
	s.r.skipped = merged
	return nil
}

// job is the blocks of a file.
type job struct {
	s      *scoring
	blocks *rows.Blocks
}

// Next reads the next block.
func (j *job) Next(buf []byte) (rows.Block, []byte, error) { return j.blocks.Next(buf) }

// Join does nothing: rows do not depend on one another.
func (j *job) Join(int) error { return nil }

// Shard does nothing.
func (j *job) Shard(int, int) error { return nil }

// tableJob parses the rows of a table.
type tableJob struct{ job }

// Parse parses a block.
func (j *tableJob) Parse(worker, _ int, block rows.Block, into *sharded.Batch) error {
	p := j.s.parsers[worker]
	p.rows.Reset(block)
	for {
		row, line, err := p.rows.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return sharded.ErrPlain
		}
		for _, i := range p.passed {
			if row[i] != "" {
				p.skip(p.header[i], line, i)
			}
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

// lineJob parses JSON events, one a line.
type lineJob struct{ job }

// Parse parses a block.
func (j *lineJob) Parse(worker, _ int, block rows.Block, into *sharded.Batch) error {
	p := j.s.parsers[worker]
	p.lines.Reset(block)
	for {
		text, line, err := p.lines.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return sharded.ErrPlain
		}
		p.line, p.place = line, 0
		var d hold.Draft
		if p.decoder.Decode(text, &d) != nil || d.WeightExact == "" && !isDouble(p.decoder.Weight) {
			return sharded.ErrPlain
		}
		d.Token, d.Holder, d.HoldID = rows.Trim(d.Token), rows.Trim(d.Holder), rows.Trim(d.HoldID)
		if err := p.add(&d, into); err != nil {
			return err
		}
	}
}

// parser parses rows for a set. Each goroutine has its own.
type parser struct {
	r    *Reader
	c    *sharded.Terms
	set  *sharded.Set
	file int

	// Of a table.
	rows                              *rows.BlockReader
	header                            []string
	token, holder, start, end, weight int // columns; -1: there is none
	others, passed                    []int

	// Of JSON.
	lines       rows.LineReader
	decoder     ingest.JSONReader
	line, place int

	skipped []skippedAt
	tokens  map[string]known
	last    known // rows of one token stand together
}

// known is a token that was seen.
type known struct {
	spelling string
	number   uint32
}

// skippedAt is a column that was passed over, and where it had its first value.
type skippedAt struct {
	Skipped
	file, line, place int
}

func (s *scoring) newParser() *parser {
	p := &parser{r: s.r, c: &s.config.Terms, set: s.set, tokens: map[string]known{}}
	p.decoder = ingest.JSONReader{Times: s.r.Times.Parse, Lenient: s.r.Lenient, Extended: true, Skipped: func(name string) {
		p.skip(name, p.line, p.place)
		p.place++
	}}
	return p
}

// open begins a table.
func (p *parser) open(header []string, skipped []bool, from *rows.BlockReader) {
	p.rows, p.header, p.others, p.passed = from, header, nil, nil
	p.token, p.holder = slices.Index(header, "token_id"), slices.Index(header, "holder_id")
	p.start, p.end, p.weight = slices.Index(header, "start"), slices.Index(header, "end"), slices.Index(header, "weight")
	for _, name := range []string{"weight_exact", "hold_id", "revision", "retract"} {
		if i := slices.Index(header, name); i >= 0 {
			p.others = append(p.others, i)
		}
	}
	for i, is := range skipped {
		if is {
			p.passed = append(p.passed, i)
		}
	}
}

// skip counts a value of a column that is passed over.
func (p *parser) skip(name string, line, place int) {
	for i := range p.skipped {
		if p.skipped[i].Name == name {
			p.skipped[i].Count++
			return
		}
	}
	if len(p.skipped) <= maxSkipped {
		p.skipped = append(p.skipped, skippedAt{Skipped{strings.Clone(name), 1}, p.file, line, place})
	}
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
