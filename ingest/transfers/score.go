package transfers

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/sharded"
)

// errUnsorted means that rows are not in the order of time.
var errUnsorted = errors.New("the rows are not in the order of time")

// Score reads files of transfers on several cores and returns the pairs that they come
// to, without their holds. The ledger has the summary of the files. Files are read twice
// if their rows are not in the order of time.
//
// The error matches [sharded.ErrPlain] if it takes [Ledger.Events]: with statements of
// balance, opening balances, ids of tokens, rows that are there twice, and whatever is
// wrong with a row.
func Score(ctx context.Context, opt Options, terms sharded.Terms, files ...string) (*Ledger, *sharded.Set, error) {
	progress := rows.NewProgress(opt.Read)
	opt.Read = progress.Add
	for _, sorted := range []bool{true, false} {
		l, err := New(opt)
		if err != nil {
			return nil, nil, err
		}
		set, err := l.score(ctx, terms, sorted, files...)
		if err == nil {
			return l, set, nil
		}
		if !errors.Is(err, errUnsorted) {
			return nil, nil, err
		}
		progress.Again()
	}
	return nil, nil, sharded.ErrPlain
}

// score reads files whose rows are in the order of time, or in any.
func (l *Ledger) score(ctx context.Context, terms sharded.Terms, sorted bool, files ...string) (*sharded.Set, error) {
	o := &l.opt
	named := func(s string) bool { return strings.Contains(s, "/") }
	if o.Statements || o.NFT || len(o.Checkpoints) > 0 || l.opened || !rows.Regular(files...) ||
		slices.ContainsFunc(o.TokenIs, named) || slices.ContainsFunc(o.TokenIsNot, named) {
		return nil, sharded.ErrPlain
	}
	if l.clock.load() != nil {
		return nil, sharded.ErrPlain
	}
	if terms.AtLast {
		terms.Question.At, terms.Question.SettledAt = hold.MaxTime, hold.MaxTime
	}
	s := &scoring{l: l, terms: &terms, sorted: sorted, holders: naming{way: o.Holders}, tokens: naming{way: o.Tokens}, isNull: nullOf(o.Null), seed: maphash.Comparable(l.identifier.a, 0)}
	s.set = sharded.New(sharded.Config{Terms: terms, Holder: s.holder, KeepMoves: !sorted})
	reader := s.set.Reader()
	for _, name := range files {
		if err := s.readFile(ctx, reader, name); err != nil {
			return nil, err
		}
	}
	s.endGroup()
	s.countLoose()
	l.summary.Sorted = !sorted
	if !s.holders.settled() || !s.tokens.settled() {
		return nil, sharded.ErrPlain
	}
	l.summary.AutoIDs = o.Holders == IDsAuto && s.holders.evm() || o.Tokens == IDsAuto && s.tokens.evm()
	at := terms.Question.At
	if terms.AtLast {
		at = l.at
	}
	if err := s.set.Finish(at); err != nil {
		return nil, err
	}
	// Which of two lookalikes comes first depends on the order of the rows.
	var holders []string
	s.set.Holders(func(id string) { holders = append(holders, id) })
	if Lookalikes(holders) != nil || Lookalikes(s.spelledTokens()) != nil {
		return nil, sharded.ErrPlain
	}
	return s.set, nil
}

// naming is what is known of how ids are normalised, while rows are read.
type naming struct {
	way     IDs
	seen    atomic.Bool // an id
	changed atomic.Bool // an id that is an address in another spelling
	other   atomic.Bool // an id that is no address
}

// of returns the id that a spelling means. With [IDsAuto] it is taken for an address
// until it is known that another id is none; see settled.
func (n *naming) of(spelling string) string {
	if n.way == IDsNone {
		return spelling
	}
	a, is := address(spelling)
	if !n.seen.Load() {
		n.seen.Store(true)
	}
	if !is && !n.other.Load() {
		n.other.Store(true)
	}
	if is && a != spelling && !n.changed.Load() {
		n.changed.Store(true)
	}
	return a
}

// evm reports whether ids are compared as addresses.
func (n *naming) evm() bool {
	return n.way == IDsEVM || n.way == IDsAuto && n.seen.Load() && !n.other.Load()
}

// settled reports whether all ids were taken for what they are.
func (n *naming) settled() bool { return n.way != IDsAuto || !n.other.Load() || !n.changed.Load() }

// scoring is the reading of files on several cores.
type scoring struct {
	l               *Ledger
	terms           *sharded.Terms
	sorted          bool // the rows are in the order of time
	set             *sharded.Set
	holders, tokens naming
	isNull          func(string) bool
	seed            uint64
	decimals        int // 1 + whether a file has a column of decimals; 0: no file was read

	logs  [sharded.Shards]hashSet // identities of rows
	group group                   // rows of the last time
	loose []looseRow              // rows without an identity, if they come in any order
	slots [sharded.RoundBlocks]slotRows

	mu    sync.Mutex // guards the contracts of the ledger, too
	bases map[string]bool
}

// holder returns what a spelling of a holder means.
func (s *scoring) holder(spelling string) (sharded.Name, error) {
	if s.isNull(spelling) {
		return sharded.Name{Nobody: true}, nil
	}
	if checkID(spelling) != nil {
		return sharded.Name{}, sharded.ErrPlain
	}
	id := s.holders.of(spelling)
	if s.terms.Rules.Holder(id) != id {
		return sharded.Name{}, sharded.ErrPlain // balances of several ids add up to one holder
	}
	return sharded.Name{ID: id, Excluded: s.terms.Rules.Excluded(id)}, nil
}

// spelledTokens are the normalised ids of the tokens of rows, selected or not, before
// rules.
func (s *scoring) spelledTokens() (ids []string) {
	for id := range s.bases {
		ids = append(ids, id)
	}
	return ids
}

// readFile reads a file, as [Ledger.readFile] does.
func (s *scoring) readFile(ctx context.Context, reader *sharded.Reader, name string) error {
	l := s.l
	f, err := rows.Open(name, l.opt.Read)
	if err != nil {
		return sharded.ErrPlain
	}
	defer f.Close()
	if kind, err := f.Kind(); err != nil || kind == rows.JSON {
		return sharded.ErrPlain
	}
	table, err := rows.NewTable(f)
	if err != nil {
		return sharded.ErrPlain
	}
	defer table.Close()
	m, err := l.opt.mapTransfers(table.Header())
	if err != nil {
		return sharded.ErrPlain
	}
	blocks := table.Blocks()
	if blocks == nil || s.otherDecimals(m) {
		return sharded.ErrPlain
	}
	l.files = append(l.files, table.File())
	l.noteColumns(table.File(), table.Header(), m)
	job := &transferJob{s: s, m: m, blocks: blocks}
	for range s.terms.Cores {
		job.parsers = append(job.parsers, &transferParser{
			s: s, m: m, rows: blocks.Reader(), clock: l.clock, tokens: map[string]*tokenOf{},
		})
	}
	if err := reader.Read(ctx, job); err != nil {
		return err
	}
	for _, p := range job.parsers {
		l.summary.Headers += p.rows.Repeated()
		l.summary.Coins += p.coins
		l.summary.Unselected += p.unselected
		l.rows += p.count
	}
	return nil
}

// otherDecimals reports whether a file has a column of decimals and another one does not.
// Then the order of the rows matters.
func (s *scoring) otherDecimals(m *mapping) bool {
	has := 1
	if m.decimals >= 0 {
		has = 2
	}
	other := s.decimals != 0 && s.decimals != has
	s.decimals = has
	return other
}

// transferJob parses the rows of a file.
type transferJob struct {
	s       *scoring
	m       *mapping
	blocks  *rows.Blocks
	parsers []*transferParser
}

// slotRows is what is kept of a block until the others of its round are parsed.
type slotRows struct {
	first, last int64                    // times; 0: no row counts
	logs        [sharded.Shards][]uint64 // identities
	head, tail  group                    // rows of the first and the last time; tail is empty if there is but one
	equal       int64                    // within the other times
	firstEqual  rowHash
	loose       []looseRow // rows without an identity, if they come in any order
}

// Next reads the next block.
func (j *transferJob) Next(buf []byte) (rows.Block, []byte, error) { return j.blocks.Next(buf) }

// Parse parses a block.
func (j *transferJob) Parse(worker, slot int, block rows.Block, into *sharded.Batch) error {
	p := j.parsers[worker]
	p.rows.Reset(block)
	p.clock.lastText = "" // of a block that is gone
	p.slot = &j.s.slots[slot]
	p.slot.reset()
	p.alone = p.alone[:0]
	p.into = into
	for {
		row, line, err := p.rows.Next()
		if err == io.EOF {
			if p.s.sorted {
				p.hashAlone() // it may have others in the next block
				p.slot.end()
			}
			return nil
		}
		if err != nil {
			return sharded.ErrPlain
		}
		p.count++
		if err := p.parse(row, line); err != nil {
			return err
		}
	}
}

// Join makes sure that the rows are in the order of time, and counts equal rows.
func (j *transferJob) Join(n int) error {
	s := j.s
	for i := range s.slots[:n] {
		slot := &s.slots[i]
		if !s.sorted {
			s.loose = append(s.loose, slot.loose...)
			s.l.at = max(s.l.at, slot.last)
			continue
		}
		if slot.first == 0 {
			continue
		}
		if slot.first < s.l.at {
			return errUnsorted
		}
		s.l.at = slot.last
		s.joinGroup(&slot.head)
		if slot.first != slot.last {
			s.endGroup()
			s.noteEqual(slot.equal, slot.firstEqual)
			s.joinGroup(&slot.tail)
		}
	}
	return nil
}

// Shard keeps the identities of one shard, none of which may be there twice.
func (j *transferJob) Shard(shard, n int) error {
	for i := range j.s.slots[:n] {
		for _, log := range j.s.slots[i].logs[shard] {
			if !j.s.logs[shard].add(log) {
				return sharded.ErrPlain
			}
		}
	}
	return nil
}

// tokenOf is what a parser knows of a spelling of a token.
type tokenOf struct {
	spelling string
	number   uint32
	info     *tokenInfo
	stated   string // the decimals of the last row, as the row states them
	decimals int
}

// transferParser parses rows. Each goroutine has its own.
type transferParser struct {
	s     *scoring
	m     *mapping
	rows  *rows.BlockReader
	clock clock
	into  *sharded.Batch
	slot  *slotRows

	tokens  map[string]*tokenOf
	last    *tokenOf
	scratch []byte
	alone   []string // the row of a time that has no other one yet, without a hash

	count, coins, unselected int64
}

// parse is [Ledger.readTransfer] for the commonest rows.
func (p *transferParser) parse(row []string, line int) error {
	m, o := p.m, &p.s.l.opt
	k := kindUnknown
	if m.kind >= 0 {
		var known bool
		if k, known = parseKind(row[m.kind]); k == kindNone {
			p.coins++
			return nil
		} else if !known && !m.kindByPreset || k == kindOne || k == kindMany {
			return sharded.ErrPlain
		}
	}
	token, err := p.tokenOf(row)
	if err != nil {
		return err
	}
	if !token.info.selected {
		p.unselected++
		return nil
	}
	at, ok := int64(0), false
	if m.time >= 0 && !o.ByBlock {
		at, ok = o.Times.Quick(row[m.time])
	}
	if !ok {
		if at, err = p.clock.of(row, m); err != nil {
			return sharded.ErrPlain
		}
	}
	if at > p.s.terms.Now || m.removed >= 0 && isRemoved(row[m.removed]) || k != kindAmount && first(row, m.ids) != "" {
		return sharded.ErrPlain
	}
	units, err := p.amount(row, token)
	if err != nil {
		return err
	}
	if err := p.note(row, line, at); err != nil {
		return err
	}
	if !p.into.Move(token.number, row[m.from], row[m.to], at, &units) {
		return sharded.ErrPlain
	}
	return nil
}

// isRemoved reports whether the mark of a removed log is anything but false.
func isRemoved(s string) bool { return s != "" && s != "false" && s != "0" && s != "False" }

// tokenOf returns what is known of the token of a row.
func (p *transferParser) tokenOf(row []string) (*tokenOf, error) {
	spelling := p.s.l.opt.TokenValue
	if p.m.token >= 0 {
		spelling = row[p.m.token]
	}
	if p.last != nil && p.last.spelling == spelling {
		return p.last, nil
	}
	t := p.tokens[spelling]
	if t == nil {
		var err error
		if t, err = p.s.newToken(strings.Clone(spelling)); err != nil {
			return nil, err
		}
		p.tokens[t.spelling] = t
	}
	p.last = t
	return t, nil
}

// newToken looks a token up that is new to a parser.
func (s *scoring) newToken(spelling string) (*tokenOf, error) {
	if spelling == "" || strings.Contains(spelling, "/") {
		return nil, sharded.ErrPlain
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tokenOf{spelling: spelling, info: s.l.contracts.of(spelling), decimals: -1}
	id := s.tokens.of(spelling)
	if s.bases == nil {
		s.bases = map[string]bool{}
	}
	s.bases[id] = true
	if !t.info.selected {
		return t, nil
	}
	if checkID(spelling) != nil || s.terms.Rules.Token(id) != id {
		return nil, sharded.ErrPlain
	}
	var err error
	if t.number, err = s.set.Token(id); err != nil {
		return nil, sharded.ErrPlain // its rule needs hold_ids, or the holds themselves
	}
	return t, nil
}

// amount reads the value of a row.
func (p *transferParser) amount(row []string, t *tokenOf) (units [3]uint64, err error) {
	stated := cell(row, p.m.decimals)
	if t.decimals < 0 || t.stated != stated {
		p.s.mu.Lock()
		n, err := p.s.l.opt.decimals(row, p.m, t.info, false)
		p.s.mu.Unlock()
		if err != nil {
			return units, sharded.ErrPlain
		}
		t.decimals, t.stated = n, strings.Clone(stated)
	}
	value := first(row, p.m.values)
	if t.decimals <= 18 && quickUnits(value, t.decimals, &units) {
		return units, nil
	}
	whole, fine, err := p.s.l.opt.parseValue(value, t.decimals)
	if err != nil || fine || whole[3] != 0 {
		return units, sharded.ErrPlain
	}
	return [3]uint64(whole[:3]), nil
}

// quickUnits reads a whole number of up to 38 digits, and reports whether it is one.
func quickUnits(s string, decimals int, units *[3]uint64) bool {
	if len(s) == 0 || len(s) > 38 {
		return false
	}
	var parts [2]uint64
	split := max(0, len(s)-19)
	for i := range len(s) {
		c := uint64(s[i] - '0')
		if c > 9 {
			return false
		}
		part := &parts[0]
		if i >= split {
			part = &parts[1]
		}
		*part = *part*10 + c
	}
	hi, lo := bits.Mul64(parts[0], 1e19)
	lo, carry := bits.Add64(lo, parts[1], 0)
	hi += carry
	scale := wholeUnits[18-decimals]
	var middle, top uint64
	middle, units[0] = bits.Mul64(lo, scale)
	top, hi = bits.Mul64(hi, scale)
	units[1], carry = bits.Add64(middle, hi, 0)
	units[2] = top + carry
	return true
}

// wholeUnits are the powers of ten up to 10^18.
var wholeUnits = func() (p [19]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 10 * p[i-1]
	}
	return p
}()

// note keeps what tells a row from equal ones.
func (p *transferParser) note(row []string, line int, at int64) error {
	s := p.slot
	if !p.s.sorted {
		s.last = max(s.last, at)
		if !p.identified(row) {
			s.loose = append(s.loose, looseRow{at, rowHash{sharded.HashRow(p.s.seed, row), int32(line), uint16(len(p.s.l.files))}})
		}
		return nil
	}
	if at < s.last {
		return errUnsorted
	}
	if s.first == 0 {
		s.first = at
	}
	if at != s.last {
		if s.last == s.first {
			p.hashAlone() // it may have others in the block before
		}
		p.alone = p.alone[:0]
		s.next(at)
	}
	if p.identified(row) {
		return nil
	}
	if len(s.tail.rows) == 0 {
		// Most rows are the only ones of their time, and need no hash.
		p.alone = append(p.alone[:0], row...)
		s.tail.rows = append(s.tail.rows, rowHash{0, int32(line), uint16(len(p.s.l.files))})
		return nil
	}
	p.hashAlone()
	s.tail.rows = append(s.tail.rows, rowHash{sharded.HashRow(p.s.seed, row), int32(line), uint16(len(p.s.l.files))})
	return nil
}

// identified keeps the identity of a row, and reports whether it has one.
func (p *transferParser) identified(row []string) bool {
	key, has := appendIdentity(p.scratch[:0], row, p.m)
	if !has {
		return false
	}
	p.scratch = key
	log := maphash.Bytes(p.s.l.identifier.a, key)
	shard := log >> (64 - sharded.ShardBits)
	p.slot.logs[shard] = append(p.slot.logs[shard], log)
	return true
}

// hashAlone hashes the row that was alone so far.
func (p *transferParser) hashAlone() {
	if len(p.alone) > 0 {
		p.slot.tail.rows[0].hash = sharded.HashRow(p.s.seed, p.alone)
		p.alone = p.alone[:0]
	}
}
