package query

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/stall"
	"holdmetrics/projection"
)

// tokenBoard is the board of one token.
//
// Snapshots say nothing of tokens, so it is made by one walk over all pairs of
// the store, when it is first asked for. Then the snapshots say which holders have
// changed, and their pairs of the token are read again, once the store has what
// the snapshot has. So it costs the first one who asks a second for every one to
// two million pairs of the store, and memory as the overall board does for those
// who hold the token; boards that nobody asks for go.
type tokenBoard struct {
	token string
	board *board
	dirty map[string]dirtyHolder // holders to be read again; ranking.mu
	used  time.Time              // ranking.mu
	built chan struct{}          // closed when it is made, or could not be
	err   error                  // why not; valid once built is closed

	// read counts the rows that were read to make it. refreshing has an item while
	// a refresh is under way.
	read       atomic.Uint64
	refreshing chan struct{}
}

// dirtyHolder is a holder whose row is older than its snapshot. It is read again
// whenever the store has more than it had, so that one who changes all the time is
// not left behind, and is dirty until the store has what the snapshot has.
type dirtyHolder struct {
	snapshot uint64 // position of the snapshot
	read     uint64 // position of the store when the row was last read since; 0: it was not
}

// changed says that the snapshot of a holder is of a position now.
func (t *tokenBoard) changed(holder string, position uint64) {
	d := t.dirty[holder]
	d.snapshot = position
	t.dirty[holder] = d
}

const (
	// maxTokenBoards is how many tokens have a board at the same time.
	maxTokenBoards = 8
	// tokenIdle is after how long without a question a board is no longer kept up to date.
	tokenIdle = time.Minute
	// tokenDirty is how many holders may be out of date on a board that is not; beyond
	// it the board goes.
	tokenDirty = 1 << 17
)

// inUse are the token boards to be kept up to date. The others go once too much
// has changed.
func (r *ranking) inUse() (boards []*tokenBoard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for token, t := range r.tokens {
		switch {
		case time.Since(t.used) < tokenIdle:
			boards = append(boards, t)
		case len(t.dirty) > tokenDirty:
			delete(r.tokens, token)
		}
	}
	return boards
}

// ofToken returns the board of a token, and makes it if necessary.
func (r *ranking) ofToken(ctx context.Context, token string) (*tokenBoard, error) {
	r.mu.Lock()
	t := r.tokens[token]
	if t == nil {
		if r.closed {
			r.mu.Unlock()
			return nil, ErrDraining
		}
		r.forget()
		t = &tokenBoard{token: token, board: newBoard(r.b.S.Now()), dirty: map[string]dirtyHolder{}, built: make(chan struct{}), refreshing: make(chan struct{}, 1)}
		r.tokens[token] = t
		r.running.Go(func() { r.buildToken(t) })
	}
	t.used = time.Now()
	r.mu.Unlock()
	// It takes long in a large store, and may, as long as it moves.
	err := stall.Wait(ctx, r.b.S.cfg.PrepareStall, t.read.Load, func(ctx context.Context) error {
		select {
		case <-t.built:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	switch {
	case err == nil:
		return t, t.err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, unavailable("the store", fmt.Errorf("ranking of token %q, %d rows read so far: %w", token, t.read.Load(), err))
}

// forget drops the board that was not used for longest if there are too many.
func (r *ranking) forget() {
	if len(r.tokens) < maxTokenBoards {
		return
	}
	var oldest *tokenBoard
	for _, t := range r.tokens {
		if oldest == nil || t.used.Before(oldest.used) {
			oldest = t
		}
	}
	delete(r.tokens, oldest.token)
}

// buildToken fills a board. From before it reads, changes mark holders as dirty; and
// it reads what the log had at the beginning, so no change is missed between.
func (r *ranking) buildToken(t *tokenBoard) {
	rows, err := r.readToken(r.life, t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		t.board.load(rows)
	} else if r.tokens[t.token] == t {
		delete(r.tokens, t.token) // the next one who asks tries again
	}
	t.err = err
	close(t.built)
}

// readToken reads all who hold a token.
func (r *ranking) readToken(ctx context.Context, t *tokenBoard) (rows []*rankRow, err error) {
	partitions := r.b.S.partitionsOf("")
	if err := r.b.awaitApplied(ctx, partitions, 0); err != nil {
		return nil, err
	}
	views, err := r.b.views(ctx, partitions)
	if err != nil {
		return nil, err
	}
	defer closeViews(views)
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, view := range views {
		group.Go(func() error {
			var own []*rankRow
			err := view.AllPairs(ctx, func(record *projection.PairRecord) error {
				t.read.Add(1)
				if record.Key.Token != t.token {
					return nil
				}
				figures, err := r.b.figuresOf(record, r.b.S.Now())
				if err == nil {
					own = append(own, figuresRow(keep(record.Key.Holder, ""), rankFigures{figures.Settled, figures.Line}))
				}
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			rows = append(rows, own...)
			return err
		})
	}
	return rows, group.Wait()
}

// refresh reads the holders of a board that have changed, at the store's checkpoint,
// which may be behind their snapshots.
func (r *ranking) refresh(ctx context.Context, t *tokenBoard) error {
	select {
	case t.refreshing <- struct{}{}:
		defer func() { <-t.refreshing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-t.built:
	default:
		return nil
	}
	r.mu.Lock()
	dirty := maps.Clone(t.dirty)
	r.mu.Unlock()
	byPartition := map[int][]string{}
	for holder := range dirty {
		p := ingest.Partition(holder, r.b.S.cfg.Log.Partitions())
		byPartition[p] = append(byPartition[p], holder)
	}
	for p, holders := range byPartition {
		if err := r.refreshPartition(ctx, t, p, holders, dirty); err != nil {
			return err
		}
	}
	return nil
}

func (r *ranking) refreshPartition(ctx context.Context, t *tokenBoard, partition int, holders []string, dirty map[string]dirtyHolder) error {
	view, err := r.b.view(ctx, partition)
	if err != nil {
		return err
	}
	defer view.Close()
	checkpoint, _ := view.Checkpoint()
	for _, holder := range holders {
		if read := dirty[holder].read; read > 0 && read >= checkpoint.Position {
			continue
		}
		var row *rankRow
		err := holderPairs(ctx, view, holder, t.token, func(record *projection.PairRecord) error {
			figures, err := r.b.figuresOf(record, r.b.S.Now())
			row = figuresRow(keep(record.Key.Holder, ""), rankFigures{figures.Settled, figures.Line})
			return err
		})
		if err != nil {
			return storeError(ctx, err)
		}
		r.mu.Lock()
		if row != nil {
			f := row.read()
			t.board.set(row, &f)
		} else {
			t.board.drop(holder)
		}
		if d := t.dirty[holder]; d.snapshot <= checkpoint.Position {
			delete(t.dirty, holder)
		} else {
			d.read = checkpoint.Position
			t.dirty[holder] = d
		}
		r.mu.Unlock()
	}
	return nil
}

// holderOf is the holder of a change.
func holderOf(c *projection.Change) (string, error) { return ingest.HolderOf(c.Key) }

// figuresOf are the figures of a pair, with the line that holds at t.
func (b *Generation) figuresOf(record *projection.PairRecord, t int64) (hold.Figures, error) {
	f := record.Figures
	if f.Line.Holds(t) {
		return f, nil
	}
	pair, err := record.Open()
	if err != nil {
		return f, err
	}
	f.Line = b.Rules.Of(record.Key.Token).Figures(pair, t).Line
	return f, record.Check(pair)
}
