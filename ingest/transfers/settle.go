package transfers

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holiman/uint256"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
)

// settle ends a timestamp: every pair whose balance changed gives its events.
// It says whether more are wanted.
func (l *Ledger) settle(emit func(rows.Event) bool) (bool, error) {
	slices.SortFunc(l.order, comparePairs)
	if l.opt.NFT {
		if err := l.checkOwners(); err != nil {
			return false, err
		}
	}
	for _, key := range l.order {
		c := l.changes[key]
		delete(l.changes, key)
		more, err := l.settlePair(key, c, emit)
		if !more || err != nil {
			return false, err
		}
		l.spare = append(l.spare, c)
	}
	l.order = l.order[:0]
	return true, nil
}

func comparePairs(a, b pair) int {
	if c := cmp.Compare(a.token, b.token); c != 0 {
		return c
	}
	return cmp.Compare(a.holder, b.holder)
}

func (l *Ledger) settlePair(key pair, c *change, emit func(rows.Event) bool) (bool, error) {
	old, held := l.accounts[key]
	balance, err := l.balance(key, &old.balance, c)
	if err != nil {
		return false, &rows.Error{Place: c.place, Err: err}
	}
	if balance == old.balance {
		return true, nil
	}
	if held {
		e := l.event(key, old, c.place)
		e.Draft.End = hold.StampOf(l.at)
		if !emit(e) {
			return false, nil
		}
	}
	if balance.IsZero() {
		delete(l.accounts, key)
		return true, nil
	}
	next := account{balance: balance, since: l.at}
	l.accounts[key] = next
	return emit(l.event(key, next, c.place)), nil
}

// balance is what a pair has after the rows of a timestamp.
func (l *Ledger) balance(key pair, old *uint256.Int, c *change) (uint256.Int, error) {
	var sum, balance uint256.Int
	if _, over := sum.AddOverflow(old, &c.in); over {
		return balance, ErrTooLarge
	}
	if _, under := balance.SubOverflow(&sum, &c.out); under {
		if l.opt.NFT {
			return balance, fmt.Errorf("%w: %s is not owned by %s at %s", ErrOwner, rows.Clip(key.token), rows.Clip(key.holder), formatTime(l.at))
		}
		return balance, fmt.Errorf("%w: at the end of %s, %s of %s would be %s below zero; are earlier transfers missing (or --opening)?",
			ErrOverdraw, formatTime(l.at), rows.Clip(key.holder), rows.Clip(key.token), text(new(uint256.Int).Sub(&c.out, &sum)))
	}
	if _, err := hold.WeightFromUnits(&balance); err != nil {
		return balance, fmt.Errorf("%w: the balance of %s of %s", ErrTooLarge, rows.Clip(key.holder), rows.Clip(key.token))
	}
	return balance, nil
}

// checkOwners makes sure that no token has two owners after this timestamp.
// Its pairs stand together in l.order.
func (l *Ledger) checkOwners() error {
	for i := 0; i < len(l.order); {
		token := l.order[i].token
		owners, place := l.supply[token], rows.Place{}
		for ; i < len(l.order) && l.order[i].token == token; i++ {
			c, old := l.changes[l.order[i]], l.accounts[l.order[i]]
			balance, err := l.balance(l.order[i], &old.balance, c)
			if err != nil {
				return &rows.Error{Place: c.place, Err: err}
			}
			owners += whole(&balance) - whole(&old.balance)
			if balance.Gt(&old.balance) {
				place = c.place
			}
		}
		if owners > 1 {
			return &rows.Error{Place: place, Err: fmt.Errorf("%w: %s at %s", ErrTwice, rows.Clip(token), formatTime(l.at))}
		}
		if owners == 0 {
			delete(l.supply, token)
		} else {
			l.supply[token] = owners
		}
	}
	return nil
}

// whole is the number of owners that a balance of an NFT stands for.
func whole(b *uint256.Int) int { return int(new(uint256.Int).Div(b, oneUnit).Uint64()) }

// event is the open hold of an account.
func (l *Ledger) event(key pair, a account, place rows.Place) rows.Event {
	e := rows.Event{Place: place}
	e.Draft.Token, e.Draft.Holder = key.token, key.holder
	e.Draft.Start = hold.StampOf(a.since)
	if !l.opt.NFT {
		e.Draft.WeightExact = text(&a.balance)
	}
	return e
}

func text(units *uint256.Int) string { return hold.Weight(*units).String() }

func formatTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
