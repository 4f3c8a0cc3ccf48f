package query

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// RankBy is the score that a ranking is by.
type RankBy string

const (
	BySettled RankBy = "settled" // of ended holds only
	ByLive    RankBy = "live"    // of all holds, as of the moment of the page
)

// MaxTop is the most holders that a page has, DefaultTop how many it has unless it
// is asked for another number.
const (
	MaxTop     = 1000
	DefaultTop = 100
)

// ErrCursorGone says that the state which a cursor pages through is not kept any more.
var ErrCursorGone = errors.New("gateway: what this cursor pages through is no longer kept; begin again without a cursor")

// TopQuery asks for a page of a ranking.
type TopQuery struct {
	By     RankBy
	Token  string // empty: over all
	Limit  uint64 // 0: DefaultTop
	Cursor string // of the page before; empty: the first
	After  uint64 // wait for this position of the log; 0: do not
}

// Ranked is a holder with its place.
type Ranked struct {
	Rank          uint64 // from 1
	Holder        string
	Live, Settled hold.Amount
	Rate          hold.Rate
	Until         int64 // 0: none is known
}

// Page is a part of a ranking.
type Page struct {
	Holders []Ranked
	Next    string // cursor; empty: there is no more
	Count   int    // of holders in the ranking
	Totals  Totals // of all of them; scores alone
	At      int64
	Applied int64
	From    *Backend
}

// top gives a page.
func (b *Generation) top(ctx context.Context, q TopQuery) (*Page, error) {
	q.Token = b.Rules.Token(q.Token)
	switch {
	case q.By != BySettled && q.By != ByLive:
		return nil, &hold.FieldError{Field: "by", Err: ErrChoice, Detail: "settled or live"}
	case q.Limit > MaxTop:
		return nil, &hold.FieldError{Field: "limit", Err: ErrRange, Detail: RangeDetail(1, MaxTop)}
	case q.Limit == 0:
		q.Limit = DefaultTop
	}
	var (
		p     *pin
		at    cursor
		place *livePlace
		err   error
	)
	if q.Cursor == "" {
		p, err = b.ranks.pin(ctx, &q)
	} else if at, err = parseCursor(q.Cursor, &q); err == nil && at.Generation != b.Generation {
		err = fmt.Errorf("%w; it is of generation %q, and %q is active", ErrCursorGone, at.Generation, b.Generation)
	} else if err == nil {
		if p, err = b.ranks.pinned(at.Pin, &q); err == nil && at.Offset >= uint64(p.state.tree.Len()) {
			err = &hold.FieldError{Field: "cursor", Err: ErrCursor}
		}
	}
	if err != nil {
		return nil, err
	}
	page := p.page(b)
	limit := min(q.Limit, uint64(page.Count)-at.Offset)
	var last livePlace
	if q.By == ByLive {
		if at.Offset > 0 {
			place = &livePlace{score: at.score, row: &rankRow{holder: at.Holder}}
		}
		for i, found := range p.state.liveTop(p.at, place, int(limit)) {
			page.add(p, at.Offset+uint64(i), found.row)
			last = found
		}
	} else {
		for i := range limit {
			it, _ := p.state.tree.GetAt(int(at.Offset + i))
			page.add(p, at.Offset+i, it.row)
		}
	}
	if end := at.Offset + uint64(len(page.Holders)); end < uint64(page.Count) && len(page.Holders) > 0 {
		next := cursor{Generation: b.Generation, Pin: p.id, By: q.By, Token: q.Token, Offset: end}
		if q.By == ByLive {
			next.Score, next.Holder = last.score.String(), last.row.holder
		}
		page.Next = next.String()
	}
	return page, nil
}

// rank gives the place of one holder.
func (b *Generation) rank(ctx context.Context, q TopQuery, holder string) (*Page, error) {
	q.Token, holder = b.Rules.Token(q.Token), b.Rules.Holder(holder)
	switch {
	case holder == "":
		return nil, &hold.FieldError{Field: "holder_id", Err: hold.ErrRequired}
	case q.By != BySettled && q.By != ByLive:
		return nil, &hold.FieldError{Field: "by", Err: ErrChoice, Detail: "settled or live"}
	}
	p, row, err := b.ranks.pinWith(ctx, &q, holder)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, projection.ErrNotFound
	}
	page := p.page(b)
	before := 0
	if q.By == ByLive {
		before = p.state.liveRank(p.at, row)
	} else {
		before = p.state.bySettled(row.item())
	}
	page.add(p, uint64(before), row)
	return page, nil
}

func (p *pin) page(b *Generation) *Page {
	return &Page{
		From:  &b.Backend,
		Count: p.state.tree.Len(), At: p.at, Applied: p.applied,
		Totals: Totals{Live: hold.Amount{Score: p.state.totals.at(p.at)}, Settled: hold.Amount{Score: p.state.totals.settled}},
	}
}

// add appends a row at an offset.
func (page *Page) add(p *pin, offset uint64, row *rankRow) {
	f := row.read()
	live, _ := projection.LineAt(&f.line, p.at)
	page.Holders = append(page.Holders, Ranked{
		Rank: offset + 1, Holder: row.holder, Live: live, Settled: f.settled, Rate: f.line.Rate, Until: f.line.Until,
	})
}

// pin makes the state of now, or gives one that was made just before.
func (r *ranking) pin(ctx context.Context, q *TopQuery) (*pin, error) {
	if q.After == 0 {
		if p := r.recentPin(q); p != nil {
			return p, nil
		}
	}
	p, _, err := r.pinWith(ctx, q, "")
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pins.add(p), nil
}

func (r *ranking) recentPin(q *TopQuery) *pin {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pins.all[r.pins.last]
	for _, other := range r.pins.all {
		if other.by == q.By && other.token == q.Token && (p == nil || p.by != q.By || p.token != q.Token || other.id > p.id) {
			p = other
		}
	}
	if p == nil || p.by != q.By || p.token != q.Token || time.Since(p.made) > pinAge {
		return nil
	}
	p.used = time.Now()
	return p
}

// pinned is the state that a cursor names.
func (r *ranking) pinned(id uint64, q *TopQuery) (*pin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pins.all[id]
	if p == nil {
		return nil, ErrCursorGone
	}
	if p.by != q.By || p.token != q.Token {
		return nil, &hold.FieldError{Field: "cursor", Err: ErrCursor}
	}
	p.used = time.Now()
	return p, nil
}

// pinWith makes the state of now, and gives the row of a holder in it, nil where
// it has none.
func (r *ranking) pinWith(ctx context.Context, q *TopQuery, holder string) (*pin, *rankRow, error) {
	stats := StatsQuery{After: q.After}
	if holder != "" {
		stats.Holders = []string{holder}
	}
	if err := r.b.awaitCurrent(ctx, &stats); err != nil {
		return nil, nil, err
	}
	if err := r.begin(ctx); err != nil {
		return nil, nil, err
	}
	b := r.overall
	var t *tokenBoard
	if q.Token != "" {
		if q.After > 0 {
			if err := r.b.awaitApplied(ctx, stats.partitions(r.b.S), q.After); err != nil {
				return nil, nil, err
			}
		}
		var err error
		if t, err = r.ofToken(ctx, q.Token); err != nil {
			return nil, nil, err
		}
		b = t.board
	}
	// Before the changes are taken over: what comes between is more than is claimed.
	applied, err := r.applied(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	r.catchUp()
	if t != nil {
		if err := r.refresh(ctx, t); err != nil {
			return nil, nil, err
		}
	}
	at := r.b.S.Now()
	r.mu.Lock()
	// No line is read before it begins, also where the log's clock is ahead.
	at = max(at, b.newest)
	r.hold(b, at)
	defer r.mu.Unlock()
	made := time.Now()
	return &pin{
		by: q.By, token: q.Token, state: b.state(), at: at, applied: applied, made: made, used: made,
	}, b.rows[holder], nil
}

// applied is the log's time up to which every partition is applied that has
// anything: in the snapshots and, of a token's board, in the store that it is made
// of, whose changes the snapshots tell. 0: nothing can be said.
func (r *ranking) applied(ctx context.Context, t *tokenBoard) (least int64, err error) {
	for _, p := range r.b.S.partitionsOf("") {
		at := r.b.reached(p).LogTime
		if t != nil {
			c, _, err := r.b.Reader.Checkpoint(ctx, p)
			if err != nil {
				return 0, storeError(ctx, err)
			}
			if (at == 0) != (c.LogTime == 0) {
				return 0, nil
			}
			at = min(at, c.LogTime)
		}
		if at != 0 && (least == 0 || at < least) {
			least = at
		}
	}
	return least, nil
}

// cursor says where a page begins.
type cursor struct {
	Generation string `json:"g,omitempty"`
	Pin        uint64 `json:"p"`
	By         RankBy `json:"b"`
	Token      string `json:"t,omitempty"`
	Offset     uint64 `json:"o"`
	// By live score: the last place of the page before.
	Score  string `json:"s,omitempty"`
	Holder string `json:"h,omitempty"`

	score hold.Score
}

// String is the cursor as clients have it, who make nothing of it.
func (c cursor) String() string {
	b, _ := json.Marshal(c) // numbers and strings
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads a cursor of this query.
func parseCursor(text string, q *TopQuery) (c cursor, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err == nil && q.By == ByLive {
		c.score, err = hold.ParseScore(c.Score)
	}
	if err == nil && (c.By != q.By || c.Token != q.Token || c.Offset == 0) {
		err = fmt.Errorf("it is by %s of token %q", c.By, c.Token)
	}
	if err != nil {
		return c, &hold.FieldError{Field: "cursor", Err: ErrCursor}
	}
	return c, nil
}
