package transparency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/ingest/proof"
	"holdmetrics/internal/backoff"
)

// DefaultInterval is how often a checkpoint is made, unless [Config] says otherwise.
const DefaultInterval = time.Second

// mostAtOnce is how many messages are hashed between two checkpoints at most, so that a
// long log shows progress, and a crash repeats little.
const mostAtOnce = 1 << 14

// Config is what a keeper works on. Log and Key are required.
type Config struct {
	Log      *ingest.Log
	Key      *proof.Key
	Replicas int           // of the bucket when it is made; 0: 1
	Interval time.Duration // between two checkpoints; 0: DefaultInterval
	Logger   *zap.Logger   // nil: none
}

// Keeper keeps the tree of a log, and proves positions with it. It is safe for concurrent
// use.
type Keeper struct {
	cfg      Config
	kv       jetstream.KeyValue
	updating sync.Mutex
	head     atomic.Pointer[head]
	others   uint64 // revision that another gateway wrote, when it was seen last; of updating
}

// Open opens the bucket, or makes it, and reads the head of the log.
func Open(ctx context.Context, cfg Config) (*Keeper, error) {
	if cfg.Log == nil || cfg.Key == nil {
		return nil, errors.New("transparency: a log and a key are required")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	k := &Keeper{cfg: cfg}
	var err error
	if k.kv, err = openBucket(ctx, cfg.Log.JetStream(), cfg.Replicas); err != nil {
		return nil, err
	}
	h, err := k.load(ctx)
	if err != nil {
		return nil, err
	}
	k.head.Store(h)
	k.others = h.revision
	return k, nil
}

// Run makes checkpoints until ctx ends. What fails is tried again, and logged when it
// begins to fail.
func (k *Keeper) Run(ctx context.Context) error {
	failing := ""
	for {
		err := k.update(ctx, true)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && failing != "":
			failing = ""
			k.cfg.Logger.Info("checkpoints are made again")
		case err != nil && err.Error() != failing:
			failing = err.Error()
			k.cfg.Logger.Error("no checkpoint could be made", zap.Error(err))
		}
		if backoff.Wait(ctx, k.cfg.Interval) != nil {
			return nil
		}
	}
}

// Update makes a checkpoint of what the log has now, unless there is one already.
func (k *Keeper) Update(ctx context.Context) error { return k.update(ctx, false) }

// update is Update. A polite one leaves the tree to another gateway that keeps it.
func (k *Keeper) update(ctx context.Context, polite bool) error {
	k.updating.Lock()
	defer k.updating.Unlock()
	id, end, err := k.cfg.Log.Look(ctx)
	if err != nil {
		return err
	}
	if id != k.cfg.Log.ID() {
		return &RewrittenError{Position: k.head.Load().checkpoint.Size, Reason: "is of another log, or of none: this process has to start again"}
	}
	if h := k.head.Load(); end == h.tree.Size() {
		return k.compare(ctx, h, end)
	}
	for {
		h, err := k.load(ctx)
		if err != nil {
			return err
		}
		if h.tree.Size() < k.head.Load().tree.Size() {
			return fmt.Errorf("%w: the checkpoint went back from %d to %d positions: put back the bucket from a backup", ErrDamaged, k.head.Load().tree.Size(), h.tree.Size())
		}
		k.head.Store(h)
		if other := h.revision != k.others; polite && other {
			k.others = h.revision
			return nil
		}
		if err := k.compare(ctx, h, end); err != nil || h.tree.Size() == end {
			return err
		}
		next, err := k.grow(ctx, h, min(end, h.tree.Size()+mostAtOnce))
		if errors.Is(err, jetstream.ErrKeyExists) {
			continue // another gateway was faster
		}
		if err != nil {
			return err
		}
		k.head.Store(next)
		k.others = next.revision
	}
}

// compare returns an error that matches ErrRewritten unless the log still has the message
// of the head.
func (k *Keeper) compare(ctx context.Context, h *head, end uint64) error {
	size := h.tree.Size()
	if size == 0 || h.last.Lost || k.cfg.Log.IsLost(size) {
		return nil
	}
	if end < size {
		return &RewrittenError{Position: size, Reason: fmt.Sprintf("is behind the end of the log, %d", end)}
	}
	return k.compareMessage(ctx, size, h.last.Hash())
}

func (k *Keeper) compareMessage(ctx context.Context, position uint64, want proof.Hash) error {
	m, err := k.cfg.Log.Message(ctx, position)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return &RewrittenError{Position: position, Reason: "is missing"}
	}
	if err != nil {
		return err
	}
	if l := proof.LeafOf(m); l.Hash() != want {
		return &RewrittenError{Position: position, Reason: "has another message, time or partition"}
	}
	return nil
}

// grow hashes the messages behind a head up to a position, and writes the next head.
func (k *Keeper) grow(ctx context.Context, h *head, to uint64) (*head, error) {
	next := &head{tree: h.tree.Clone(), last: h.last}
	var failed error
	add := func(l proof.Leaf) {
		next.last = l
		next.tree.Add(l.Hash(), func(t proof.Tile) {
			if failed == nil {
				failed = k.keepTile(ctx, t)
			}
		})
	}
	lost := func(before uint64) {
		for next.tree.Size()+1 < before && k.cfg.Log.IsLost(next.tree.Size()+1) {
			add(proof.Leaf{Position: next.tree.Size() + 1, Lost: true})
		}
	}
	for m, err := range k.cfg.Log.Read(ctx, ingest.Range{From: h.tree.Size() + 1, To: to}) {
		if err != nil {
			return nil, err
		}
		lost(m.Position)
		if m.Position != next.tree.Size()+1 {
			return nil, fmt.Errorf("transparency: position %d came where %d belongs", m.Position, next.tree.Size()+1)
		}
		if add(proof.LeafOf(m)); failed != nil {
			return nil, failed
		}
	}
	lost(to + 1)
	if failed != nil {
		return nil, failed
	}
	if next.tree.Size() == h.tree.Size() {
		return nil, fmt.Errorf("transparency: the log gives nothing behind position %d", h.tree.Size())
	}
	next.checkpoint = proof.Checkpoint{LogID: k.cfg.Log.ID(), Size: next.tree.Size(), Root: next.tree.Root()}
	var err error
	if next.note, err = next.checkpoint.Sign(k.cfg.Key); err != nil {
		return nil, err
	}
	value, err := next.format()
	if err != nil {
		return nil, err
	}
	if h.revision == 0 {
		next.revision, err = k.kv.Create(ctx, k.headKey(), value)
	} else {
		next.revision, err = k.kv.Update(ctx, k.headKey(), value, h.revision)
	}
	if err != nil {
		return nil, fmt.Errorf("transparency: write the head: %w", err)
	}
	return next, nil
}
