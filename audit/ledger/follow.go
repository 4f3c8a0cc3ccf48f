package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"holdmetrics/audit/immu"
	"holdmetrics/audit/replay"
	"holdmetrics/audit/source"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/proof"
	"holdmetrics/internal/backoff"
)

// Errors of a follower. Nothing is written after any of them.
var (
	// ErrOtherLog: the copy is of another log.
	ErrOtherLog = errors.New("the copy in immudb is of another log")
	// ErrRewritten: the log does not have what was copied.
	ErrRewritten = errors.New("the log does not have what was copied from it")
	// ErrGap: the copy would have a gap.
	ErrGap = errors.New("the copy would have a gap")
)

const (
	// DefaultStateEvery is how many messages of a partition lie between two hashes of its
	// state, unless [Config] says otherwise.
	DefaultStateEvery = 10_000
	// DefaultIdle is the pause of a follower that has nothing to do.
	DefaultIdle = 250 * time.Millisecond

	lookEvery  = 10 * time.Second // at immudb, while there is nothing to write
	batchPairs = 4 * immu.MaxKeys
	againFirst = 200 * time.Millisecond
	againMost  = 10 * time.Second
)

// Copy is where a follower writes. An [*immu.Client] is one.
type Copy interface {
	Set(ctx context.Context, pairs []immu.Pair) error
	Get(ctx context.Context, key []byte) ([]byte, error)
	Look(ctx context.Context) error
}

// Config is what a follower works on. Log and Copy are required.
type Config struct {
	Log   source.Log
	Copy  Copy
	Rules hold.Rules // of the states; nil: no states
	// StateEvery is how many messages of a partition lie between two hashes of its state;
	// 0: DefaultStateEvery.
	StateEvery uint64
	// From is where the copy begins; 0: where it is, or at position 1. Less than where it
	// begins fills it up.
	From   uint64
	Idle   time.Duration // pause while there is nothing to do; 0: DefaultIdle
	Logger *zap.Logger   // nil: none
	// Copied is called with the last position of each batch; nil: nobody listens.
	Copied func(position uint64)
}

// Follower copies a log, and goes on while events come in.
type Follower struct {
	cfg    Config
	has    PositionRecord
	leaf   string // of the last position that was copied
	states *replay.Replay
	pairs  []immu.Pair // of the next batch
	ends   []end       // of the positions among them
	spare  []immu.Pair // of the batch that is being written
	batch  *batch      // nil: nothing is being written
	looked time.Time
}

// end is where a position ends among the pairs of a batch.
type end struct {
	pairs    int
	position uint64
}

// NewFollower returns a follower that does nothing until Run or CatchUp.
func NewFollower(cfg Config) *Follower {
	if cfg.StateEvery == 0 {
		cfg.StateEvery = DefaultStateEvery
	}
	if cfg.Idle <= 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Copied == nil {
		cfg.Copied = func(uint64) {}
	}
	return &Follower{cfg: cfg}
}

// Run copies until ctx ends. An immudb or a log that is away is waited for.
func (f *Follower) Run(ctx context.Context) error {
	pauses := backoff.Backoff{First: againFirst, Most: againMost}
	away := false
	for {
		err := f.CatchUp(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case source.Away(err):
			if !away {
				f.cfg.Logger.Warn("the log does not answer; waiting", zap.Error(err))
			}
			away = true
			if pauses.Wait(ctx) != nil {
				return nil
			}
			continue
		case err != nil:
			return err
		case away:
			away = false
			pauses.Reset()
			f.cfg.Logger.Info("the log answers again")
		}
		if backoff.Wait(ctx, f.cfg.Idle) != nil {
			return nil
		}
		if time.Since(f.looked) < lookEvery {
			continue
		}
		if err := f.patiently(ctx, "look at immudb", f.cfg.Copy.Look); err != nil {
			return err
		}
		f.looked = time.Now()
	}
}

// CatchUp copies what the log has now.
func (f *Follower) CatchUp(ctx context.Context) error {
	if f.has.From == 0 {
		if err := f.begin(ctx); err != nil {
			return err
		}
	}
	end, err := f.cfg.Log.LastPosition(ctx)
	if err != nil {
		return err
	}
	if end < f.has.Through {
		return fmt.Errorf("%w: it has %d positions, and %d were copied: restore it, or find out who put it back", ErrRewritten, end, f.has.Through)
	}
	if end == f.has.Through {
		return nil
	}
	return f.copy(ctx, f.has.Through+1, end, true)
}

// begin finds out what the copy has, and fills it up.
func (f *Follower) begin(ctx context.Context) error {
	var log LogRecord
	found, err := f.get(ctx, []byte(LogKey), &log)
	if err != nil {
		return err
	}
	own := LogRecord{Version: version, LogID: f.cfg.Log.ID(), Partitions: f.cfg.Log.Partitions()}
	if found && log != own {
		return fmt.Errorf("%w: %s with %d partitions, and this one is %s with %d: name another database", ErrOtherLog, log.LogID, log.Partitions, own.LogID, own.Partitions)
	}
	has := PositionRecord{From: max(f.cfg.From, 1)}
	has.Through = has.From - 1
	if found {
		if _, err := f.get(ctx, []byte(PositionKey), &has); err != nil {
			return err
		}
	} else if err := f.found(ctx, own, has); err != nil {
		return err
	}
	from := f.cfg.From
	if from > has.Through+1 {
		return fmt.Errorf("%w: it ends at position %d, and --from is %d: leave out --from", ErrGap, has.Through, from)
	}
	if err := f.anchor(ctx, has); err != nil {
		return err
	}
	if from != 0 && from < has.From {
		if err := f.fill(ctx, from, has); err != nil {
			return err
		}
		has.From = from
	}
	if f.cfg.Rules != nil {
		if err := f.replay(ctx, has.Through); err != nil {
			return err
		}
	}
	f.has = has
	return nil
}

// found makes the copy.
func (f *Follower) found(ctx context.Context, own LogRecord, has PositionRecord) error {
	log, err := json.Marshal(own)
	if err != nil {
		return err
	}
	position, err := json.Marshal(has)
	if err != nil {
		return err
	}
	return f.set(ctx, []immu.Pair{{Key: []byte(LogKey), Value: log}, {Key: []byte(PositionKey), Value: position}})
}

// anchor makes sure that the log still has the last message that was copied.
func (f *Follower) anchor(ctx context.Context, has PositionRecord) (err error) {
	if has.Through < has.From {
		f.leaf, err = f.leafOf(ctx, has.From-1)
		return err
	}
	var copied FrameRecord
	found, err := f.get(ctx, FrameKey(has.Through), &copied)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: position %d, the last one, is missing in immudb", ErrGap, has.Through)
	}
	if f.cfg.Log.IsLost(has.Through) {
		f.leaf = copied.Leaf // nothing to compare it with
		return nil
	}
	if f.leaf, err = f.leafOf(ctx, has.Through); err != nil {
		return err
	}
	if f.leaf != copied.Leaf {
		return fmt.Errorf("%w: position %d has another message, time or partition: run 'holdmetrics-audit verify'", ErrRewritten, has.Through)
	}
	return nil
}

// leafOf returns the leaf of a position of the log; of position 0 there is none.
func (f *Follower) leafOf(ctx context.Context, position uint64) (string, error) {
	if position == 0 {
		return "", nil
	}
	for m, err := range f.cfg.Log.Read(ctx, ingest.Range{From: position, To: position}) {
		if err != nil {
			return "", err
		}
		l := proof.LeafOf(m)
		return hexOf(l.Hash()), nil
	}
	if f.cfg.Log.IsLost(position) {
		l := proof.Leaf{Position: position, Lost: true}
		return hexOf(l.Hash()), nil
	}
	return "", fmt.Errorf("%w: position %d is missing: restore the log, or find out who put it back", ErrRewritten, position)
}

// fill copies what comes before the copy.
func (f *Follower) fill(ctx context.Context, from uint64, has PositionRecord) error {
	last := f.leaf
	var err error
	if f.leaf, err = f.leafOf(ctx, from-1); err != nil {
		return err
	}
	if err := f.copy(ctx, from, has.From-1, false); err != nil {
		return err
	}
	f.leaf, has.From = last, from
	position, err := json.Marshal(has)
	if err != nil {
		return err
	}
	return f.set(ctx, []immu.Pair{{Key: []byte(PositionKey), Value: position}})
}

// replay computes the states up to a position. States are in memory, so each start reads
// the log once from its beginning.
func (f *Follower) replay(ctx context.Context, through uint64) error {
	f.states = replay.New(f.cfg.Log, f.cfg.Rules)
	if through == 0 {
		return nil
	}
	for m, err := range f.cfg.Log.Read(ctx, ingest.Range{To: through}) {
		if err == nil {
			err = f.states.Apply(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copy copies a range. Of one that goes on, the position is kept and states are made.
func (f *Follower) copy(ctx context.Context, from, to uint64, on bool) error {
	err := f.copyRange(ctx, from, to, on)
	if written := f.await(); err == nil {
		err = written
	}
	if err != nil {
		f.has.From = 0 // leaf and states are ahead of what was written
	}
	return err
}

func (f *Follower) copyRange(ctx context.Context, from, to uint64, on bool) error {
	next := from
	take := func(pairs []immu.Pair, leaf string, err error) error {
		if err != nil {
			return err
		}
		f.pairs, f.leaf = append(f.pairs, pairs...), leaf
		next++
		return nil
	}
	lost := func(before uint64) error {
		for next < before && f.cfg.Log.IsLost(next) {
			if err := take(Lost(next, f.leaf)); err != nil {
				return err
			}
		}
		return nil
	}
	f.pairs, f.ends = f.pairs[:0], f.ends[:0]
	for m, err := range f.cfg.Log.Read(ctx, ingest.Range{From: from, To: to}) {
		if err != nil {
			return err
		}
		if err := lost(m.Position); err != nil {
			return err
		}
		if m.Position != next {
			return fmt.Errorf("%w: position %d of the log came where %d belongs", ErrGap, m.Position, next)
		}
		if err := take(Message(f.cfg.Log, m, f.leaf)); err != nil {
			return err
		}
		if on && f.states != nil {
			if err := f.state(ctx, m); err != nil {
				return err
			}
		}
		if f.ends = append(f.ends, end{len(f.pairs), m.Position}); len(f.pairs) >= batchPairs {
			if err := f.writeFull(ctx, on); err != nil {
				return err
			}
		}
	}
	if err := lost(to + 1); err != nil {
		return err
	}
	if next != to+1 {
		return fmt.Errorf("%w: the log ended at position %d, and %d was its end", ErrGap, next-1, to)
	}
	return f.write(ctx, to, on)
}

// state applies a message, and adds the hash of the state where one is due.
func (f *Follower) state(ctx context.Context, m *ingest.Message) error {
	if err := f.states.Apply(ctx, m); err != nil {
		return err
	}
	if f.states.Messages(m.Partition)%f.cfg.StateEvery != 0 {
		return nil
	}
	pair, err := State(f.states, f.cfg.Rules.Version(), m.Partition, m.Position)
	f.pairs = append(f.pairs, pair)
	return err
}

// batch is what is being written while the next one is read.
type batch struct {
	ended   chan error
	has     PositionRecord // once it is written
	through uint64
}

// writeFull begins to write as many full transactions as were collected, the last key
// being the position. The rest is for the next batch. It may begin within a message, which
// is not whole before the next position says so.
func (f *Follower) writeFull(ctx context.Context, on bool) error {
	whole := len(f.pairs) / immu.MaxKeys * immu.MaxKeys
	if on {
		whole-- // for the position
	}
	n := 0 // positions that are whole
	for n < len(f.ends) && f.ends[n].pairs <= whole {
		n++
	}
	if n == 0 {
		return nil // one message has more; it is collected whole
	}
	through := f.ends[n-1].position
	rest := slices.Clone(f.pairs[whole:])
	f.pairs = f.pairs[:whole]
	if err := f.write(ctx, through, on); err != nil {
		return err
	}
	f.pairs = append(f.pairs, rest...)
	f.ends = append(f.ends[:0], f.ends[n:]...)
	for i := range f.ends {
		f.ends[i].pairs -= whole
	}
	return nil
}

// write begins to write what was collected up to a position, once the batch before is
// written.
func (f *Follower) write(ctx context.Context, through uint64, on bool) error {
	has := f.has
	if on {
		has.Through = through
		value, err := json.Marshal(has)
		if err != nil {
			return err
		}
		f.pairs = append(f.pairs, immu.Pair{Key: []byte(PositionKey), Value: value})
	}
	if err := f.await(); err != nil {
		return err
	}
	b := &batch{ended: make(chan error, 1), has: has, through: through}
	pairs := f.pairs
	f.batch, f.pairs, f.spare = b, f.spare[:0], pairs
	go func() { b.ended <- f.set(ctx, pairs) }() // copy awaits it
	return nil
}

// await returns when nothing is being written.
func (f *Follower) await() error {
	b := f.batch
	if b == nil {
		return nil
	}
	f.batch = nil
	if err := <-b.ended; err != nil {
		f.has.From = 0 // what was written of it is not known; the next call begins again
		return err
	}
	f.has, f.looked = b.has, time.Now()
	f.cfg.Copied(b.through)
	return nil
}

func (f *Follower) set(ctx context.Context, pairs []immu.Pair) error {
	return f.patiently(ctx, "write to immudb", func(ctx context.Context) error { return f.cfg.Copy.Set(ctx, pairs) })
}

// get reads a record, and reports whether there is one.
func (f *Follower) get(ctx context.Context, key []byte, into any) (found bool, err error) {
	var value []byte
	err = f.patiently(ctx, "read from immudb", func(ctx context.Context) (err error) {
		value, err = f.cfg.Copy.Get(ctx, key)
		return err
	})
	if errors.Is(err, immu.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(value, into); err != nil {
		return false, fmt.Errorf("%w: the value of key %s is no record: %w", immu.ErrDamaged, key, err)
	}
	return true, nil
}

// patiently waits for an immudb that is away.
func (f *Follower) patiently(ctx context.Context, what string, do func(context.Context) error) error {
	pauses := backoff.Backoff{First: againFirst, Most: againMost}
	for tries := 0; ; tries++ {
		err := do(ctx)
		if !errors.Is(err, immu.ErrAway) || ctx.Err() != nil {
			if err == nil && tries > 0 {
				f.cfg.Logger.Info("immudb answers again")
			}
			return err
		}
		if tries == 0 {
			f.cfg.Logger.Warn("immudb is away; waiting", zap.String("for", what), zap.Error(err))
		}
		if err := pauses.Wait(ctx); err != nil {
			return err
		}
	}
}
