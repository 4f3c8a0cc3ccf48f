package gateway

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

// rankBy is the score that a ranking is by.
type rankBy string

const (
	bySettled rankBy = "settled"
	byLive    rankBy = "live"
)

// MaxTop is the most holders that a page has, DefaultTop how many it has unless it
// is asked for another number.
const (
	MaxTop     = 1000
	DefaultTop = 100
)

// ErrCursorGone says that the state which a cursor pages through is not kept any more.
var ErrCursorGone = errors.New("gateway: what this cursor pages through is no longer kept; begin again without a cursor")

// topQuery asks for a page of a ranking.
type topQuery struct {
	by     rankBy
	token  string // empty: over all
	limit  uint64 // 0: DefaultTop
	cursor string // of the page before; empty: the first
	after  uint64 // wait for this position of the log; 0: do not
}

// rankedHolder is a holder with its place.
type rankedHolder struct {
	rank          uint64 // from 1
	holder        string
	live, settled hold.Amount
	rate          hold.Rate
	until         int64 // 0: none is known
}

// rankPage is a part of a ranking.
type rankPage struct {
	holders []rankedHolder
	next    string // cursor; empty: there is no more
	count   int    // of holders in the ranking
	totals  totals // of all of them; scores alone
	at      int64
	applied int64
	from    *Backend
}

// top gives a page.
func (b *backend) top(ctx context.Context, q topQuery) (*rankPage, error) {
	q.token = b.Rules.Token(q.token)
	switch {
	case q.by != bySettled && q.by != byLive:
		return nil, &hold.FieldError{Field: "by", Err: ErrChoice, Detail: "settled or live"}
	case q.limit > MaxTop:
		return nil, &hold.FieldError{Field: "limit", Err: ErrRange, Detail: rangeDetail(1, MaxTop)}
	case q.limit == 0:
		q.limit = DefaultTop
	}
	var (
		p     *pin
		at    cursor
		place *livePlace
		err   error
	)
	if q.cursor == "" {
		p, err = b.ranks.pin(ctx, &q)
	} else if at, err = parseCursor(q.cursor, &q); err == nil && at.Generation != b.Generation {
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
	limit := min(q.limit, uint64(page.count)-at.Offset)
	var last livePlace
	if q.by == byLive {
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
	if end := at.Offset + uint64(len(page.holders)); end < uint64(page.count) && len(page.holders) > 0 {
		next := cursor{Generation: b.Generation, Pin: p.id, By: q.by, Token: q.token, Offset: end}
		if q.by == byLive {
			next.Score, next.Holder = last.score.String(), last.row.holder
		}
		page.next = next.String()
	}
	return page, nil
}

// rank gives the place of one holder.
func (b *backend) rank(ctx context.Context, q topQuery, holder string) (*rankPage, error) {
	q.token, holder = b.Rules.Token(q.token), b.Rules.Holder(holder)
	switch {
	case holder == "":
		return nil, &hold.FieldError{Field: "holder_id", Err: hold.ErrRequired}
	case q.by != bySettled && q.by != byLive:
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
	if q.by == byLive {
		before = p.state.liveRank(p.at, row)
	} else {
		before = p.state.bySettled(row.item())
	}
	page.add(p, uint64(before), row)
	return page, nil
}

func (p *pin) page(b *backend) *rankPage {
	return &rankPage{
		from:  &b.Backend,
		count: p.state.tree.Len(), at: p.at, applied: p.applied,
		totals: totals{live: hold.Amount{Score: p.state.totals.at(p.at)}, settled: hold.Amount{Score: p.state.totals.settled}},
	}
}

// add appends a row at an offset.
func (page *rankPage) add(p *pin, offset uint64, row *rankRow) {
	f := row.read()
	live, _ := figuresAt(&f.line, p.at)
	page.holders = append(page.holders, rankedHolder{
		rank: offset + 1, holder: row.holder, live: live, settled: f.settled, rate: f.line.Rate, until: f.line.Until,
	})
}

// pin makes the state of now, or gives one that was made just before.
func (r *ranking) pin(ctx context.Context, q *topQuery) (*pin, error) {
	if q.after == 0 {
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

func (r *ranking) recentPin(q *topQuery) *pin {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pins.all[r.pins.last]
	for _, other := range r.pins.all {
		if other.by == q.by && other.token == q.token && (p == nil || p.by != q.by || p.token != q.token || other.id > p.id) {
			p = other
		}
	}
	if p == nil || p.by != q.by || p.token != q.token || time.Since(p.made) > pinAge {
		return nil
	}
	p.used = time.Now()
	return p
}

// pinned is the state that a cursor names.
func (r *ranking) pinned(id uint64, q *topQuery) (*pin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pins.all[id]
	if p == nil {
		return nil, ErrCursorGone
	}
	if p.by != q.by || p.token != q.token {
		return nil, &hold.FieldError{Field: "cursor", Err: ErrCursor}
	}
	p.used = time.Now()
	return p, nil
}

// pinWith makes the state of now, and gives the row of a holder in it, nil where
// it has none.
func (r *ranking) pinWith(ctx context.Context, q *topQuery, holder string) (*pin, *rankRow, error) {
	stats := statsQuery{after: q.after}
	if holder != "" {
		stats.holders = []string{holder}
	}
	if err := r.b.awaitCurrent(ctx, &stats); err != nil {
		return nil, nil, err
	}
	if err := r.begin(ctx); err != nil {
		return nil, nil, err
	}
	b := r.overall
	var t *tokenBoard
	if q.token != "" {
		if q.after > 0 {
			if err := r.b.awaitApplied(ctx, stats.partitions(r.b.s), q.after); err != nil {
				return nil, nil, err
			}
		}
		var err error
		if t, err = r.ofToken(ctx, q.token); err != nil {
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
	at := r.b.s.now()
	for {
		if err := r.reline(ctx, b, q.token, at); err != nil {
			return nil, nil, err
		}
		r.mu.Lock()
		// No line is read before it begins, also where the log's clock is ahead; nor past
		// its until, so where one came meanwhile that begins later, all are looked at again.
		if at >= b.newest {
			break
		}
		at = b.newest
		r.mu.Unlock()
	}
	defer r.mu.Unlock()
	made := time.Now()
	return &pin{
		by: q.by, token: q.token, state: b.state(), at: at, applied: applied, made: made, used: made,
	}, b.rows[holder], nil
}

// applied is the log's time up to which every partition is applied that has
// anything: in the snapshots and, of a token's board, in the store that it is made
// of, whose changes the snapshots tell. 0: nothing can be said.
func (r *ranking) applied(ctx context.Context, t *tokenBoard) (least int64, err error) {
	for _, p := range r.b.s.partitionsOf("") {
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
	By         rankBy `json:"b"`
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
func parseCursor(text string, q *topQuery) (c cursor, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err == nil && q.by == byLive {
		c.score, err = hold.ParseScore(c.Score)
	}
	if err == nil && (c.By != q.by || c.Token != q.token || c.Offset == 0) {
		err = fmt.Errorf("it is by %s of token %q", c.By, c.Token)
	}
	if err != nil {
		return c, &hold.FieldError{Field: "cursor", Err: ErrCursor}
	}
	return c, nil
}
