package transfers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holiman/uint256"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
)

// account is what a pair of a token and a holder has, and what the records of the
// current time do to it.
type account struct {
	token, holder uint32
	balance       uint256.Int // in the units of the token
	since         int64       // ns; of a balance that is not 0
	weight        uint256.Int // of the open hold: the balance, rounded if the token is fine

	in, out  uint256.Int
	stated   uint256.Int
	place    int32 // the last record that touched it, -1: the opening balances
	touched  bool
	states   flags // of the statements of this time
	interval bool  // an interval is open
}

// book follows the balances of all tokens through the records of a ledger.
type book struct {
	l        *Ledger
	accounts []account
	index    map[uint64]int32 // of a pair
	fine     []bool           // by token: its units are 1e-36
	supply   map[uint32]int   // owners of a token that has one at most
	touched  []int32
	at       int64
	equal    map[uint64]uint64 // rows of one time by hash
	counting bool              // this run is that of the summary
}

func newBook(l *Ledger) *book {
	b := &book{l: l, index: make(map[uint64]int32), fine: make([]bool, len(l.tokens.texts)), supply: make(map[uint32]int), equal: make(map[uint64]uint64)}
	for i := range l.records {
		if l.records[i].flags&flagFine != 0 {
			b.fine[l.records[i].token] = true
		}
	}
	for i := range l.opening {
		if l.opening[i].fine {
			b.fine[l.tokens.means[l.opening[i].token]] = true
		}
	}
	for i := range l.opening {
		o := &l.opening[i]
		a := b.account(l.tokens.means[o.token], l.holders.means[o.holder])
		a.balance = b.scale(a.token, o.units, o.fine)
		a.since, a.place = o.since, -1
		a.weight, _ = b.weigh(a)
		if l.opt.NFT {
			b.supply[a.token] = 1
		}
	}
	return b
}

// scale is a value in the units of its token.
func (b *book) scale(token uint32, v uint256.Int, fine bool) uint256.Int {
	if b.fine[token] && !fine {
		var scaled uint256.Int
		if _, over := scaled.MulOverflow(&v, fineUnits); over {
			return *new(uint256.Int).SetAllOne() // which no weight comes near
		}
		return scaled
	}
	return v
}

// weigh is the weight of an account's balance, and whether digits were lost.
func (b *book) weigh(a *account) (uint256.Int, bool) {
	if b.fine[a.token] {
		return b.l.opt.Round.round(&a.balance)
	}
	return a.balance, false
}

func (b *book) account(token, holder uint32) *account { return &b.accounts[b.indexOf(token, holder)] }

func (b *book) indexOf(token, holder uint32) int32 {
	key := uint64(token)<<32 | uint64(holder)
	i, ok := b.index[key]
	if !ok {
		i = int32(len(b.accounts))
		b.index[key] = i
		b.accounts = append(b.accounts, account{token: token, holder: holder})
	}
	return i
}

// run applies all records. Without emit it looks for bad tokens, which it adds to
// those of the ledger, or returns the first; with it, bad tokens are left out. It
// returns false if emit did.
func (b *book) run(ctx context.Context, emit func(rows.Event) bool) (bool, error) {
	l := b.l
	b.counting = emit != nil
	for i := 0; i < len(l.records); {
		b.at = l.records[i].at
		if l.opened && b.at <= l.openedAt {
			return true, &rows.Error{Place: l.place(&l.records[i]), Err: fmt.Errorf("%w: they already hold what happened up to %s; give only later rows", ErrOpening, l.opt.when(l.openedAt))}
		}
		start := i
		snapshot := false
		for ; i < len(l.records) && l.records[i].at == b.at; i++ {
			if i%1024 == 0 && ctx.Err() != nil {
				return true, ctx.Err()
			}
			r := &l.records[i]
			snapshot = snapshot || r.flags&flagSnapshot != 0
			if r.flags&flagMark != 0 || l.bad[r.token] != nil {
				continue
			}
			if of, ok := l.openedOf[r.token]; ok && b.at <= of {
				return true, &rows.Error{Place: l.place(r), Err: fmt.Errorf("%w: the server's hold what happened to %s up to %s; give only later rows", ErrOpening, rows.Clip(l.tokens.texts[r.token]), l.opt.when(of))}
			}
			if err := b.apply(r, int32(i)); err != nil {
				if err := b.blame(r.token, int32(i), err); err != nil {
					return true, err
				}
			}
		}
		if snapshot {
			b.closeMissing(int32(start))
		}
		if emit != nil && i-start > 1 {
			b.countEqual(l.records[start:i])
		}
		if more, err := b.settle(emit); !more || err != nil {
			return err != nil, err
		}
	}
	return true, nil
}

// blame leaves a token out from here on, or returns the error that ends the run.
func (b *book) blame(token uint32, i int32, err error) error {
	place := rows.Place{File: openingName}
	if i >= 0 {
		place = b.l.place(&b.l.records[i])
	}
	e := &rows.Error{Place: place, Err: err}
	if !b.l.opt.SkipBadTokens {
		return e
	}
	b.l.setBad(token, e)
	return nil
}

// apply adds a record to the changes of its time.
func (b *book) apply(r *record, i int32) error {
	value := b.scale(r.token, r.value, r.flags&flagFine != 0)
	if r.flags&flagStatement != 0 {
		return b.state(r, i, value)
	}
	// A transfer to oneself goes in and out and so nets to zero.
	if r.from != nobody {
		a := b.touch(r.token, r.from, i)
		if _, over := a.out.AddOverflow(&a.out, &value); over {
			return ErrTooLarge
		}
	}
	if r.to != nobody {
		a := b.touch(r.token, r.to, i)
		if _, over := a.in.AddOverflow(&a.in, &value); over {
			return ErrTooLarge
		}
	}
	if r.flags&flagNFT != 0 {
		if _, known := b.supply[r.token]; !known {
			b.supply[r.token] = 0
		}
	}
	return nil
}

func (b *book) touch(token, holder uint32, i int32) *account {
	n := b.indexOf(token, holder)
	a := &b.accounts[n]
	if !a.touched {
		a.touched = true
		b.touched = append(b.touched, n)
	}
	a.place = i
	return a
}

// state takes a statement of balance.
func (b *book) state(r *record, i int32, value uint256.Int) error {
	if r.to == nobody {
		if b.counting {
			b.l.summary.OfNobody++
		}
		return nil
	}
	a := b.touch(r.token, r.to, i)
	kind := r.flags & (flagStatement | flagInterval | flagUntil | flagCheck)
	if kind&flagUntil != 0 {
		a.states |= flagUntil
		return nil
	}
	if a.states&flagStatement != 0 {
		if a.stated != value {
			return fmt.Errorf("%w: %s of %s has %s and %s at %s", ErrStatement, rows.Clip(b.l.holders.texts[a.holder]), rows.Clip(b.l.tokens.texts[a.token]),
				b.text(a.token, &a.stated), b.text(a.token, &value), b.l.opt.when(b.at))
		}
		if b.counting {
			b.l.summary.EqualStatements++
		}
	}
	a.states |= kind
	a.stated = value
	return nil
}

func (b *book) text(token uint32, v *uint256.Int) string {
	if b.fine[token] {
		whole, _ := RoundDown.round(v)
		return text(&whole)
	}
	return text(v)
}

// closeMissing states a balance of 0 of everybody whom a snapshot does not name.
func (b *book) closeMissing(i int32) {
	for n := range b.accounts {
		a := &b.accounts[n]
		if a.states&flagStatement != 0 || a.balance.IsZero() || b.l.bad[a.token] != nil {
			continue
		}
		if !a.touched {
			a.touched = true
			b.touched = append(b.touched, int32(n))
		}
		a.place = i
		a.states |= flagStatement
		a.stated = uint256.Int{}
	}
}

// rowOf names the row of a record; the records of a batch have one.
func rowOf(r *record) uint64 { return uint64(r.file)<<32 | uint64(uint32(r.line)) }

// countEqual counts rows of one time that are equal in everything and have no
// identity.
func (b *book) countEqual(records []record) {
	if len(records) <= 8 {
		for i := range records {
			for j := range i {
				if records[i].row != 0 && records[i].row == records[j].row && sameContent(&records[i], &records[j]) && rowOf(&records[i]) != rowOf(&records[j]) {
					b.l.noteEqual(&records[i])
					break
				}
			}
		}
		return
	}
	clear(b.equal)
	for i := range records {
		r := &records[i]
		if r.row == 0 {
			continue
		}
		if row, ok := b.equal[r.row]; ok && row != rowOf(r) {
			b.l.noteEqual(r)
			continue
		}
		b.equal[r.row] = rowOf(r)
	}
}

// settle ends a time: every pair whose balance changed gives its events.
func (b *book) settle(emit func(rows.Event) bool) (bool, error) {
	if len(b.touched) > 1 {
		slices.SortFunc(b.touched, func(x, y int32) int { return b.compare(&b.accounts[x], &b.accounts[y]) })
	}
	for start := 0; start < len(b.touched); {
		token := b.accounts[b.touched[start]].token
		end := start + 1
		for end < len(b.touched) && b.accounts[b.touched[end]].token == token {
			end++
		}
		more, err := b.settleToken(token, b.touched[start:end], emit)
		if !more || err != nil {
			return more, err
		}
		start = end
	}
	b.touched = b.touched[:0]
	return true, nil
}

// compare orders accounts by token, then holder.
func (b *book) compare(x, y *account) int {
	if x.token != y.token {
		return cmp.Compare(b.l.tokens.texts[x.token], b.l.tokens.texts[y.token])
	}
	return cmp.Compare(b.l.holders.texts[x.holder], b.l.holders.texts[y.holder])
}

// settleToken settles the accounts of one token.
func (b *book) settleToken(token uint32, touched []int32, emit func(rows.Event) bool) (bool, error) {
	defer func() {
		for _, n := range touched {
			a := &b.accounts[n]
			a.in, a.out, a.stated = uint256.Int{}, uint256.Int{}, uint256.Int{}
			a.touched, a.states = false, 0
		}
	}()
	if b.l.bad[token] != nil {
		return true, nil
	}
	owners, one := b.supply[token]
	var place int32
	for _, n := range touched {
		a := &b.accounts[n]
		next, err := b.next(a)
		if err != nil {
			return true, b.blame(token, a.place, err)
		}
		if one {
			owners += whole(&next) - whole(&a.balance)
			if next.Gt(&a.balance) {
				place = a.place
			}
		}
	}
	if one {
		if owners > 1 {
			return true, b.blame(token, place, fmt.Errorf("%w: %s at %s", ErrTwice, rows.Clip(b.l.tokens.texts[token]), b.l.opt.when(b.at)))
		}
		b.supply[token] = owners
	}
	for _, n := range touched {
		if !b.settleAccount(&b.accounts[n], emit) {
			return false, nil
		}
	}
	return true, nil
}

// settleAccount moves an account to its next balance, and yields what changed.
func (b *book) settleAccount(a *account, emit func(rows.Event) bool) bool {
	balance, _ := b.next(a) // found to be right before
	if a.states&flagCheck != 0 {
		b.l.correct(b, a, &balance, emit != nil)
	}
	switch {
	case a.states&flagInterval != 0:
		a.interval = true
	case a.states&flagUntil != 0:
		a.interval = false
	}
	if balance == a.balance {
		return true
	}
	before := *a
	a.balance = balance
	weight, rounded := b.weigh(a)
	if rounded && emit != nil {
		b.l.summary.Rounded++
	}
	if weight == before.weight {
		return true // it changed behind the last digit alone
	}
	a.weight = weight
	a.since = b.at
	if emit == nil {
		return true
	}
	if !before.weight.IsZero() {
		e := b.event(&before)
		e.Place = b.placeOf(a)
		e.Draft.End = hold.StampOf(b.at)
		if !emit(e) {
			return false
		}
	}
	return weight.IsZero() || emit(b.event(a))
}

// next is the balance of an account after the records of a time.
func (b *book) next(a *account) (uint256.Int, error) {
	var sum, balance uint256.Int
	if a.states&flagStatement != 0 {
		if a.states&flagInterval != 0 && a.interval && a.states&flagUntil == 0 {
			return balance, fmt.Errorf("%w: %s of %s has an interval from %s within another one", ErrStatement, b.holder(a), b.token(a), b.l.opt.when(b.at))
		}
		balance = a.stated
		return balance, b.fits(a, &balance)
	}
	if a.states&flagUntil != 0 {
		if !a.interval {
			return balance, fmt.Errorf("%w: %s of %s has an interval to %s that overlaps another one", ErrStatement, b.holder(a), b.token(a), b.l.opt.when(b.at))
		}
		return balance, nil
	}
	if _, over := sum.AddOverflow(&a.balance, &a.in); over {
		return balance, ErrTooLarge
	}
	if _, under := balance.SubOverflow(&sum, &a.out); under {
		if _, one := b.supply[a.token]; one {
			return balance, fmt.Errorf("%w: %s is not owned by %s at %s", ErrOwner, b.token(a), b.holder(a), b.l.opt.when(b.at))
		}
		short := new(uint256.Int).Sub(&a.out, &sum)
		return balance, fmt.Errorf("%w: at the end of %s, %s of %s would be %s below zero; are earlier transfers missing (or --opening)? --on-bad-token skip leaves the token out",
			ErrOverdraw, b.l.opt.when(b.at), b.holder(a), b.token(a), b.text(a.token, short))
	}
	return balance, b.fits(a, &balance)
}

// fits checks that a balance is a weight.
func (b *book) fits(a *account, balance *uint256.Int) error {
	units := *balance
	if b.fine[a.token] {
		units, _ = b.l.opt.Round.round(balance)
	}
	if _, err := hold.WeightFromUnits(&units); err != nil {
		return fmt.Errorf("%w: the balance of %s of %s", ErrTooLarge, b.holder(a), b.token(a))
	}
	return nil
}

func (b *book) token(a *account) string  { return rows.Clip(b.l.tokens.texts[a.token]) }
func (b *book) holder(a *account) string { return rows.Clip(b.l.holders.texts[a.holder]) }

func (b *book) placeOf(a *account) rows.Place {
	if a.place < 0 {
		return rows.Place{File: openingName}
	}
	return b.l.place(&b.l.records[a.place])
}

// whole is the number of owners that a balance of an NFT stands for.
func whole(b *uint256.Int) int { return int(new(uint256.Int).Div(b, oneUnit).Uint64()) }

// event is the open hold of an account.
func (b *book) event(a *account) rows.Event {
	e := rows.Event{Place: b.placeOf(a)}
	e.Draft.Token, e.Draft.Holder = b.l.tokens.texts[a.token], b.l.holders.texts[a.holder]
	e.Draft.Start = hold.StampOf(a.since)
	if _, one := b.supply[a.token]; !one && !b.l.opt.NFT {
		e.Draft.WeightExact = text(&a.weight)
	}
	return e
}

// emitOpening yields the open holds of the opening balances. If an earlier import
// sent them already, they are the same facts and change nothing.
func (b *book) emitOpening(emit func(rows.Event) bool) bool {
	for _, a := range b.sorted() {
		if !a.weight.IsZero() && b.l.bad[a.token] == nil && !emit(b.event(a)) {
			return false
		}
	}
	return true
}

// sorted is the accounts that have something, by token, then holder.
func (b *book) sorted() []*account {
	var all []*account
	for i := range b.accounts {
		if a := &b.accounts[i]; !a.balance.IsZero() && b.l.bad[a.token] == nil {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, b.compare)
	return all
}

// when is a time in words.
func (o *Options) when(ns int64) string {
	if o.ByBlock {
		return fmt.Sprintf("block %d", ns/1e9)
	}
	return formatTime(ns)
}

func formatTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
