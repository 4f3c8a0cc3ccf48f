package transfers

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"holdmetrics/ingest/rows"
)

// Ledger makes events of files. Its work goes in stages: files are read into
// records, ids are normalised, one record of each log is kept, and the balances of
// all tokens are followed through the records in the order of their times. It is
// not safe for concurrent use, and after an error it is good for nothing.
type Ledger struct {
	opt       Options
	thousands string // of the options; the preset of a file may have its own

	// Reading.
	tokens, holders *names
	contracts       *contracts
	clock           clock
	marked          int64 // ns, of the last mark
	files           []string
	records         []record
	keys            []identity // of the records; nil: none has one
	identifier      identifier
	scratch         []byte
	faults          []fault
	rows            int64
	loaded          bool

	manner manner

	// Opening balances.
	opening  []opening
	opened   bool
	openedAt int64            // ns: the opening balances hold everything up to and with it
	leftOut  []uint32         // tokens that they do not hold
	openedOf map[uint32]int64 // as openedAt, by token, of balances that a server has
	firstOf  map[string]int64 // ns: the first record of a token; nil: not asked for

	bad     map[uint32]*rows.Error // tokens that are left out
	book    *book                  // after Events
	at      int64                  // ns, of the last record
	summary Summary
}

// New makes an empty ledger. Ids in the options are read as those of files are, without
// white space at their ends.
func New(opt Options) (*Ledger, error) {
	opt.trim()
	if err := opt.check(); err != nil {
		return nil, err
	}
	l := &Ledger{
		opt:        opt,
		thousands:  opt.Numbers.Thousands,
		tokens:     newNames(),
		holders:    newNames(),
		identifier: newIdentifier(),
		bad:        make(map[uint32]*rows.Error),
	}
	l.contracts, l.clock = newContracts(&l.opt, l.tokens), clock{opt: &l.opt}
	return l, nil
}

// Rows is how many rows were read.
func (l *Ledger) Rows() int64 { return l.rows }

// Load reads the files, in any order. [Ledger.Events] does it if it was not done.
func (l *Ledger) Load(ctx context.Context, files ...string) error {
	if l.loaded {
		return nil
	}
	l.loaded = true
	if err := l.clock.load(); err != nil {
		return err
	}
	for _, name := range files {
		if err := l.readFile(ctx, name, l.opt.Statements, &l.opt.Columns, 0, l.opt.Read); err != nil {
			return err
		}
	}
	for _, name := range l.opt.Checkpoints {
		if err := l.readFile(ctx, name, true, &l.opt.CheckpointsColumns, flagCheck, nil); err != nil {
			return err
		}
	}
	return l.prepare()
}

// prepare normalises ids, keeps one record of each log and sorts by time.
func (l *Ledger) prepare() error {
	if err := l.manner.continueIDs(&l.opt); err != nil {
		return err
	}
	whole := func(s string) string { return s }
	l.manner.evmHolders = l.holders.normalise(l.opt.Holders, whole, nullOf(l.opt.Null))
	l.manner.evmTokens = l.tokens.normalise(l.opt.Tokens, contractOf, nil)
	if err := l.manner.checkAuto(l.holders, l.tokens); err != nil {
		return err
	}
	l.summary.AutoIDs = l.opt.Holders == IDsAuto && l.manner.evmHolders || l.opt.Tokens == IDsAuto && l.manner.evmTokens
	badTokens, badHolders := l.tokens.check(), l.holders.check()
	for i := range l.records {
		r := &l.records[i]
		if r.flags&flagMark != 0 {
			continue
		}
		r.token = l.tokens.means[r.token]
		r.from, r.to = l.holders.means[r.from], l.holders.means[r.to]
		if badTokens == nil && badHolders == nil {
			continue
		}
		err := badTokens[r.token]
		for _, h := range [2]uint32{r.from, r.to} {
			err = cmp.Or(err, badHolders[h])
		}
		if err != nil {
			if err := l.blame(r.token, l.place(r), err); err != nil {
				return err
			}
		}
	}
	if err := l.dedupe(); err != nil {
		return err
	}
	l.leaveOut()
	if err := l.leaveOutAgain(); err != nil {
		return err
	}
	for _, f := range l.faults {
		l.setBad(l.tokens.means[f.token], f.err)
	}
	l.spreadBad()
	byTime := func(a, b record) int { return cmp.Compare(a.at, b.at) }
	if !slices.IsSortedFunc(l.records, byTime) {
		slices.SortStableFunc(l.records, byTime)
		l.summary.Sorted = true
	}
	return l.checkOpening()
}

// leaveOut takes away the records of tokens with an id that are not selected.
func (l *Ledger) leaveOut() {
	if !slices.ContainsFunc(slices.Concat(l.opt.TokenIs, l.opt.TokenIsNot), func(s string) bool { return strings.Contains(s, "/") }) {
		return
	}
	selected := make([]bool, len(l.tokens.texts))
	for i, s := range l.tokens.texts {
		is := func(named string) bool {
			base, _, _ := strings.Cut(s, "/")
			if a, ok := address(strings.SplitN(named, "/", 2)[0]); ok && l.opt.Tokens != IDsNone {
				if _, id, has := strings.Cut(named, "/"); has {
					named = a + "/" + id
				} else {
					named = a
				}
			}
			return named == s || named == base
		}
		selected[i] = (len(l.opt.TokenIs) == 0 || slices.ContainsFunc(l.opt.TokenIs, is)) && !slices.ContainsFunc(l.opt.TokenIsNot, is)
	}
	kept := l.records[:0]
	for _, r := range l.records {
		switch {
		case r.flags&flagMark != 0:
		case selected[r.token]:
		case r.flags&flagSnapshot != 0:
			l.summary.Unselected++
			r.flags |= flagMark
		default:
			l.summary.Unselected++
			continue
		}
		kept = append(kept, r)
	}
	l.records = kept
}

// setBad leaves a token out, by the first reason of its rows.
func (l *Ledger) setBad(token uint32, err *rows.Error) {
	if before, ok := l.bad[token]; ok && before.Place.Line > 0 && (err.Place.File != before.Place.File || err.Place.Line >= before.Place.Line) {
		return
	}
	l.bad[token] = err
}

// spreadBad leaves out every id of a contract that is left out as a whole: which of
// its ids a bad row is of is not known.
func (l *Ledger) spreadBad() {
	if len(l.bad) == 0 {
		return
	}
	for i, s := range l.tokens.texts {
		if j := strings.LastIndexByte(s, '/'); j >= 0 {
			if base, ok := l.tokens.index[s[:j]]; ok {
				if err, is := l.bad[l.tokens.means[base]]; is {
					l.setBad(uint32(i), err)
				}
			}
		}
	}
}

// Events reads the files, as [Ledger.Load] does, and yields the events that they
// come to in the order of time: those of one time by token, then holder, the end
// before the new start. Opening balances come first, as the open holds that they
// are. An error is the last thing yielded; it names file and line. Unless
// Options.Unchecked is set, every row was checked before the first event.
func (l *Ledger) Events(ctx context.Context, files ...string) iter.Seq2[rows.Event, error] {
	return func(yield func(rows.Event, error) bool) {
		if err := l.Load(ctx, files...); err != nil {
			yield(rows.Event{}, err)
			return
		}
		if !l.opt.Unchecked || l.opt.SkipBadTokens {
			b := newBook(l)
			if _, err := b.run(ctx, nil); err != nil {
				yield(rows.Event{}, err)
				return
			}
		}
		l.book = newBook(l)
		if len(l.records) > 0 {
			l.at = l.records[len(l.records)-1].at
		}
		emit := func(e rows.Event) bool { return yield(e, nil) }
		if !l.book.emitOpening(emit) {
			return
		}
		if more, err := l.book.run(ctx, emit); err != nil && more {
			yield(rows.Event{}, err)
		}
	}
}
