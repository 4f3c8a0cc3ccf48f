package mongo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"holdmetrics/hold"
	"holdmetrics/internal/inuse"
	"holdmetrics/projection"
)

// Store is a projection.Store in a MongoDB database. It is safe for concurrent
// use. Flushes of one partition take turns.
//
// A database that is away does not end it: calls wait and try again for as long
// as Config.Patience, then return an error that wraps
// [projection.ErrUnavailable]; once the database is back they succeed.
type Store struct {
	config Config
	client *driver.Client
	collections
	caller
	format   *databaseFormat
	inflight inflight // of bulk writes, for all partitions

	mu     sync.Mutex
	closed bool
	inUse  inuse.Count

	partitionsMu sync.Mutex
	partitions   map[int]*partition
}

var (
	_ projection.Store = (*Store)(nil)
)

// partition is what the store knows of a partition that it is the owner of.
type partition struct {
	flush sync.Mutex // held for a whole flush

	mu   sync.Mutex
	mine bool // claimed or flushed here
	base at   // the checkpoint that the owner goes on from
	last projection.Checkpoint
	some bool // last is set: the partition was flushed
}

// at is the place of a checkpoint, or of a flush.
type at struct{ position, epoch int64 }

// Open connects to the database, and makes collections and indexes where there
// are none. While no server can be reached it tries again until ctx ends.
//
// The error wraps [projection.ErrForeign] where the collections hold something
// that this program did not make, or another version of it.
func Open(ctx context.Context, c Config) (*Store, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	client, err := driver.Connect(c.client())
	if err != nil {
		return nil, fmt.Errorf("mongo: MONGODB_URL: %w", err)
	}
	s := &Store{
		config: c, client: client, collections: collectionsOf(client.Database(c.Database), c.Generation),
		caller:     caller{operation: c.OperationTimeout, most: c.Patience, logger: c.Logger},
		partitions: map[int]*partition{}, inflight: inflight{limit: inflightFirst},
	}
	s.format = &databaseFormat{caller: &s.caller, collections: s.collections, database: c.Database}
	if err := s.format.setUp(ctx); err != nil {
		return nil, errors.Join(err, s.disconnect())
	}
	return s, nil
}

// Close waits until the calls under way have ended and open views are closed, and gives
// up the connections. Calls after it return [projection.ErrClosed].
//
// If something is still open after a minute, the error says how much. The connections
// are given up all the same, and what is open fails.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return nil
	}
	open := s.inUse.Wait(s.config.closeWithin)
	if open != nil {
		open = fmt.Errorf("mongo: close the store of database %s: %w; they fail from now on: end them before the store is closed", s.config.Database, open)
	}
	return errors.Join(open, s.disconnect())
}

func (s *Store) disconnect() error {
	// Ending the server's sessions is a courtesy; a server that does not answer is
	// not waited for long.
	ctx, cancel := context.WithTimeout(context.Background(), s.config.ServerSelection)
	defer cancel()
	if err := s.client.Disconnect(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("mongo: disconnect: %w", err)
	}
	return nil
}

var (
	errStoreClosed = fmt.Errorf("%w: the store was closed", projection.ErrClosed)
	errViewClosed  = fmt.Errorf("%w: the view was closed", projection.ErrClosed)
)

// enter begins a call; leave ends it.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	return s.enterAs(ctx, (*inuse.Count).Call)
}

func (s *Store) enterAs(ctx context.Context, count func(*inuse.Count) func()) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errStoreClosed
	}
	return count(&s.inUse), nil
}

// enterPartition is enter for a call about a partition.
func (s *Store) enterPartition(ctx context.Context, p int) (leave func(), err error) {
	if err := checkPartition(p); err != nil {
		return nil, err
	}
	return s.enter(ctx)
}

func checkPartition(p int) error {
	if p < 0 || p > maxPartition {
		return fmt.Errorf("%w: partition %d is not between 0 and %d", projection.ErrBatch, p, maxPartition)
	}
	return nil
}

func (s *Store) partition(p int) *partition {
	s.partitionsMu.Lock()
	defer s.partitionsMu.Unlock()
	part := s.partitions[p]
	if part == nil {
		part = &partition{}
		s.partitions[p] = part
	}
	return part
}

// Ping writes to the database and waits for a majority, so it reports whether
// flushes can succeed; it does not try again.
func (s *Store) Ping(ctx context.Context) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	err = s.once(ctx, func(ctx context.Context) error {
		// Plan: IXSCAN of _id.
		result, err := s.meta.UpdateOne(ctx, bson.D{{Key: "_id", Value: formatID}}, bson.D{{Key: "$inc", Value: bson.D{{Key: "pings", Value: int64(1)}}}})
		if err == nil && result.MatchedCount == 0 {
			return fmt.Errorf("%w: the format of database %s is gone; was the database dropped? Start again, and the store is created again from the log",
				projection.ErrCorrupt, s.config.Database)
		}
		return err
	})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return explain("ping", err)
}

// Capabilities of the store: it keeps facts, and several processes have it open. What a
// flush has written cannot be seen before its checkpoint.
func (s *Store) Capabilities() projection.Capabilities {
	return projection.Capabilities{AtomicFlush: true, Claims: true, RemovesSealed: true, SealedIDs: sealedIDs}
}

// Page is not for a store that keeps facts.
func (s *Store) Page(context.Context, int, projection.PairKey, []byte) ([]byte, error) {
	return nil, projection.ErrUnsupported
}

// Pages is not for a store that keeps facts.
func (s *Store) Pages(context.Context, int, projection.PairKey, []byte, func(hold.Page) bool) error {
	return projection.ErrUnsupported
}

// toInt64 is a number of the log as the database has it.
func toInt64(what string, n uint64) (int64, error) {
	if n > math.MaxInt64 {
		return 0, fmt.Errorf("%w: %s %d is greater than 2^63-1", projection.ErrBatch, what, n)
	}
	return int64(n), nil
}
