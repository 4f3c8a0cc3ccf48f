package processor

import (
	"context"
	"fmt"
	"sync/atomic"

	"go.uber.org/zap"

	"holdmetrics/projection"
)

// scope is what the parts of a partition have in common. Its fields are set when the
// partition starts, but for lost and the partition's share of the worker's bounds.
type scope struct {
	id      int
	cfg     *Config
	log     eventLog
	store   projection.Store
	logger  *zap.Logger
	metrics *partitionMetrics
	board   *board
	atomic  bool // the store's flushes are
	paged   bool // the store keeps pages, so no facts are gathered
	whole   bool // the log is read whole; see wholeLog

	controls               *controls     // the worker's
	cacheBytes, flushBytes int           // its share of the worker's bounds
	sharers                *atomic.Int64 // how many partitions share them; nil: it does not change

	term        ownershipTerm // the right to write; nil: there is one owner, this one
	loadedEpoch uint64        // of the checkpoint that the store had at the start
	epoch       uint64

	// background ends when the worker gives up waiting, a while after ctx.
	background context.Context

	lost error // a pair that is lost, which ends the partition; see pairPages
}

func newScope(id int, cfg *Config, controls *controls, log eventLog, metrics *partitionMetrics) *scope {
	can := cfg.Store.Capabilities()
	s := &scope{
		id: id, cfg: cfg, log: log, store: cfg.Store,
		logger:   cfg.Logger.With(zap.Int("partition", id)),
		metrics:  metrics,
		atomic:   can.AtomicFlush,
		paged:    can.IgnoresFacts,
		whole:    readsWhole(cfg.Rules, log.Partitions()),
		controls: controls,
	}
	s.board = newBoard(s)
	s.share()
	return s
}

// retry is retry for the partition, whose status says what it fails with meanwhile.
func (s *scope) retry(ctx context.Context, what string, f func(context.Context) error) error {
	failed := false
	return retry(ctx, s.logger, what, func(ctx context.Context) error {
		err := f(ctx)
		if err != nil {
			s.metrics.all.failedTry(what, err)
		}
		if err != nil || failed {
			s.board.lastError(what, err)
			failed = err != nil
		}
		return err
	})
}

// fail wraps an error with what the partition was doing.
func (s *scope) fail(what string, err error) error {
	return fmt.Errorf("processor: partition %d: %s: %w", s.id, what, err)
}
