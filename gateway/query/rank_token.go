package query

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
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
// the store, when it is first asked for; tokens that are asked for meanwhile share the
// next walk. Then the snapshots say which holders have
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

	client     string        // that asked for it first
	askers     int           // requests that wait for it; ranking.mu
	refreshing chan struct{} // has an item while a refresh is under way
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
	// maxTokenBoards is how many tokens have a board at the same time, and of how many one
	// walk makes the boards.
	maxTokenBoards = 8
	// maxAsked is how many boards may wait to be made, and maxAskedEach how many of one
	// client.
	maxAsked     = 256
	maxAskedEach = 64
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

// ofToken returns the board of a token, and has it made if necessary.
func (r *ranking) ofToken(ctx context.Context, token string) (*tokenBoard, error) {
	r.mu.Lock()
	t := r.tokens[token]
	if t == nil {
		if err := r.ask(ClientOf(ctx)); err != nil {
			r.mu.Unlock()
			return nil, err
		}
		t = &tokenBoard{token: token, client: ClientOf(ctx), board: newBoard(r.b.S.Now()), dirty: map[string]dirtyHolder{}, built: make(chan struct{}), refreshing: make(chan struct{}, 1)}
		r.tokens[token] = t
		r.asked = append(r.asked, t)
		if !r.building {
			r.building = true
			r.running.Go(r.buildAsked)
		}
	}
	t.used = time.Now()
	t.askers++
	r.mu.Unlock()
	// It takes long in a large store, and may, as long as it moves.
	err := stall.Wait(ctx, r.b.S.cfg.PrepareStall, r.read.Load, func(ctx context.Context) error {
		select {
		case <-t.built:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	r.mu.Lock()
	t.askers--
	if err != nil && t.askers == 0 {
		r.abandon(t)
	}
	r.mu.Unlock()
	switch {
	case err == nil:
		return t, t.err
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, unavailable("the store", fmt.Errorf("ranking of token %q, %d rows read so far: %w", token, r.read.Load(), err))
}

// ask returns an error if a client must not have another board made. r.mu is held.
func (r *ranking) ask(client string) error {
	if r.closed {
		return ErrDraining
	}
	own := 0
	for _, t := range r.asked {
		if t.client == client {
			own++
		}
	}
	if len(r.asked) >= maxAsked || own >= maxAskedEach {
		return fmt.Errorf("%w: %d rankings of tokens are to be made, %d of them for this client: ask again later, for one after the other", ErrCrowded, len(r.asked), own)
	}
	return nil
}

// Asked returns the number of boards of tokens that wait to be made.
func (b *Generation) Asked() int {
	b.ranks.mu.Lock()
	defer b.ranks.mu.Unlock()
	return len(b.ranks.asked)
}

// abandon drops a board that nobody waits for before it is made. r.mu is held.
func (r *ranking) abandon(t *tokenBoard) {
	select {
	case <-t.built:
		return
	default:
	}
	if r.tokens[t.token] == t {
		delete(r.tokens, t.token)
	}
	r.asked = slices.DeleteFunc(r.asked, func(o *tokenBoard) bool { return o == t })
	for _, o := range r.batch {
		if r.tokens[o.token] == o {
			return
		}
	}
	if len(r.batch) > 0 {
		r.stopBatch() // nobody waits for any of it
	}
}

// forget drops the boards that were not used for longest if there are too many. r.mu is
// held.
func (r *ranking) forget() {
	for {
		var oldest *tokenBoard
		made := 0
		for _, t := range r.tokens {
			select {
			case <-t.built:
				made++
				if oldest == nil || t.used.Before(oldest.used) {
					oldest = t
				}
			default:
			}
		}
		if made <= maxTokenBoards {
			return
		}
		delete(r.tokens, oldest.token)
	}
}

// buildAsked makes the boards that were asked for, several in one walk, until there are
// none.
func (r *ranking) buildAsked() {
	for {
		r.mu.Lock()
		if len(r.asked) == 0 {
			r.building = false
			r.mu.Unlock()
			return
		}
		r.batch = r.nextBatch()
		var ctx context.Context
		ctx, r.stopBatch = context.WithCancel(r.life)
		batch, stop := r.batch, r.stopBatch
		for _, t := range batch {
			clear(t.dirty) // what changed before is read
		}
		r.mu.Unlock()
		rows, err := r.readTokens(ctx, batch)
		stop()
		r.mu.Lock()
		r.batch = nil
		for i, t := range batch {
			if err == nil {
				t.board.load(rows[i])
			} else if r.tokens[t.token] == t {
				delete(r.tokens, t.token) // the next one who asks tries again
			}
			t.err = err
			close(t.built)
		}
		r.forget()
		r.mu.Unlock()
	}
}

// nextBatch takes the boards of the next walk, of one client after the other. r.mu is
// held.
func (r *ranking) nextBatch() (batch []*tokenBoard) {
	for len(r.asked) > 0 && len(batch) < maxTokenBoards {
		taken := map[string]bool{}
		r.asked = slices.DeleteFunc(r.asked, func(t *tokenBoard) bool {
			if taken[t.client] || len(batch) == maxTokenBoards {
				return false
			}
			taken[t.client] = true
			batch = append(batch, t)
			return true
		})
	}
	return batch
}

// rankings is the client for whom boards are made. No client's name is like it.
const rankings = "\x00rankings"

// readTokens reads all who hold some tokens, and gives the rows of each.
func (r *ranking) readTokens(ctx context.Context, batch []*tokenBoard) (rows [][]*rankRow, err error) {
	leave, err := r.b.S.walk(ctx, rankings, "rankings of tokens")
	if err != nil {
		return nil, err
	}
	defer leave()
	partitions := r.b.S.partitionsOf("")
	if err := r.b.awaitApplied(ctx, partitions, 0); err != nil {
		return nil, err
	}
	views, err := r.b.views(ctx, partitions)
	if err != nil {
		return nil, err
	}
	defer closeViews(views)
	places := make(map[string]int, len(batch))
	for i, t := range batch {
		places[t.token] = i
	}
	rows = make([][]*rankRow, len(batch))
	var mu sync.Mutex // of rows
	group, ctx := errgroup.WithContext(WithClient(ctx, rankings))
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, view := range views {
		group.Go(func() error {
			turn, err := r.b.S.turn(ctx)
			if err != nil {
				return err
			}
			defer turn.Leave()
			own := make([][]*rankRow, len(batch))
			err = view.AllPairs(ctx, func(record *projection.PairRecord) error {
				r.read.Add(1)
				if err := turn.Yield(ctx); err != nil {
					return err
				}
				i, asked := places[record.Key.Token]
				if !asked {
					return nil
				}
				figures, err := r.b.figuresOf(record, r.b.S.Now())
				if err == nil {
					own[i] = append(own[i], figuresRow(keep(record.Key.Holder, ""), rankFigures{figures.Settled, figures.Line}))
				}
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			for i := range own {
				rows[i] = append(rows[i], own[i]...)
			}
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
