package projection

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	fenceKeyPrefix = "_fence."

	// batchMost is how many messages the broker takes in one atomic batch.
	batchMost = 1000

	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
)

func fenceKey(partition int) string { return fenceKeyPrefix + strconv.Itoa(partition) }

// Fence is one owner's right to write the snapshots of one partition. What it
// writes goes in atomic batches, each of which the broker takes only while the
// fence is this one's. So from the moment at which another owner has put up his
// own, nothing comes from this one, whatever it still believes. It is safe for
// concurrent use; what it writes goes one batch after the other.
//
// The first message of a batch carries the condition on _fence.<p>. The last one is
// _pos.<p>; in all but the last batch of a Publish it says again what it said
// before. It carries a condition too: nobody wrote it since the batch before. (Where
// there are no snapshots it goes alone, and a new fence breaks that condition.)
// Without it a batch that was given up, and sent again after its answer was lost,
// could arrive a second time, after newer ones.
type Fence struct {
	s         *Snapshots
	partition int
	epoch     uint64
	former    uint64
	seq       uint64 // of the fence's message

	mu    sync.Mutex
	at    Reached
	atSeq uint64 // of the position's message
}

// Fences reports whether the bucket has fences: one that is kept for a single owner
// has none.
func (s *Snapshots) Fences() bool { return !s.config.Async }

// Fence puts up a fence. epoch is given the epoch of the one that stands (0: none
// does) and answers with the new one, which must be greater; it is asked again
// where somebody else put one up in between, so it has to look whether the
// caller is still the owner. Its error ends the attempt and is returned as it is.
func (s *Snapshots) Fence(ctx context.Context, partition int, epoch func(ctx context.Context, former uint64) (uint64, error)) (*Fence, error) {
	if !s.Fences() {
		return nil, fmt.Errorf("projection: bucket %s is for one owner: it has no fences", BucketName(s.config.Generation))
	}
	f := &Fence{s: s, partition: partition}
	for {
		former, seq, err := s.number(ctx, fenceKey(partition))
		if err != nil {
			return nil, err
		}
		mine, err := epoch(ctx, former)
		if err != nil {
			return nil, err
		}
		if mine <= former {
			return nil, &FencedError{Partition: partition, Stored: former, Mine: mine}
		}
		ack, err := s.js.Publish(ctx, s.prefix+fenceKey(partition), strconv.AppendUint(nil, mine, 10), jetstream.WithExpectLastSequencePerSubject(seq))
		if err == nil {
			f.epoch, f.former, f.seq = mine, former, ack.Sequence
			break
		}
		if !wrongSequence(err) {
			return nil, fmt.Errorf("projection: put up the fence of partition %d: %w", partition, err)
		}
	}
	// Only now, since a former owner may have written until now. The position is
	// written once more: a lone one of his, which has nothing but the condition on it,
	// is refused from here on.
	if err := f.look(ctx); err != nil {
		return nil, err
	}
	if err := f.batch(ctx, nil, f.at); err != nil {
		return nil, fmt.Errorf("projection: put up the fence of partition %d: %w", partition, err)
	}
	return f, nil
}

// Epoch is the fence's.
func (f *Fence) Epoch() uint64 { return f.epoch }

// Former is the epoch of the fence that stood before; 0 where none did.
func (f *Fence) Former() uint64 { return f.former }

// Generation is the name of the bucket's generation.
func (f *Fence) Generation() string { return f.s.Generation() }

// Position is the position that the bucket has all of.
func (f *Fence) Position(_ context.Context, partition int) (uint64, error) {
	if err := f.mine(partition); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at.Position, nil
}

// Owed calls [Snapshots.Owed].
func (f *Fence) Owed(ctx context.Context, partition int) (bool, error) {
	return f.s.Owed(ctx, partition)
}

// SetOwed is [Snapshots.SetOwed] behind the fence.
func (f *Fence) SetOwed(ctx context.Context, partition int, owed bool) error {
	if err := f.mine(partition); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.batch(ctx, []Entry{{Key: owedKey(partition), Value: strconv.AppendBool(nil, owed)}}, f.at)
	if err != nil {
		return fmt.Errorf("projection: record whether partition %d needs a backfill: %w", partition, err)
	}
	return nil
}

// Publish is [Snapshots.Publish] behind the fence. The error is a [*FencedError]
// where the fence is another owner's by now; then the last batch, and those that
// would have followed it, changed nothing.
func (f *Fence) Publish(ctx context.Context, partition int, entries []Entry, to Reached) error {
	if err := f.mine(partition); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.publish(ctx, entries, to); err != nil {
		return fmt.Errorf("projection: publish %d snapshots of partition %d: %w", len(entries), partition, err)
	}
	return nil
}

func (f *Fence) publish(ctx context.Context, entries []Entry, to Reached) error {
	const most = batchMost - 1 // and the position
	for len(entries) > most {
		if err := f.batch(ctx, entries[:most], f.at); err != nil {
			return err
		}
		entries = entries[most:]
	}
	return f.batch(ctx, entries, to)
}

// batch writes entries and then the position, all or nothing. f.mu is held.
func (f *Fence) batch(ctx context.Context, entries []Entry, to Reached) error {
	for attempt := 0; ; attempt++ {
		seq, err := f.send(ctx, entries, to)
		if err == nil {
			f.at, f.atSeq = to, seq
			return nil
		}
		if !wrongSequence(err) {
			return err
		}
		if looked := f.look(ctx); looked != nil {
			return looked
		}
		// The fence stands. Either a batch of our own whose answer was lost has been
		// written, or the broker had something else on its way.
		if attempt == 2 {
			return err
		}
	}
}

func (f *Fence) send(ctx context.Context, entries []Entry, to Reached) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	id := uuid.NewString()
	conn := f.s.js.Conn()
	if len(entries) == 0 {
		ack, err := f.s.js.Publish(ctx, f.s.prefix+positionKey(f.partition), to.append(nil), jetstream.WithExpectLastSequencePerSubject(f.atSeq))
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	}
	message := func(i int, key string, value []byte) *nats.Msg {
		m := &nats.Msg{Subject: f.s.prefix + key, Data: value, Header: nats.Header{
			headerBatchID:  {id},
			headerBatchSeq: {strconv.Itoa(i + 1)},
		}}
		if i == 0 {
			m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(f.seq, 10)}
			m.Header[jetstream.ExpectedLastSubjSeqSubjHeader] = []string{f.s.prefix + fenceKey(f.partition)}
		}
		return m
	}
	for i, e := range entries {
		if err := conn.PublishMsg(message(i, e.Key, e.Value)); err != nil {
			return 0, err
		}
	}
	last := message(len(entries), positionKey(f.partition), to.append(nil))
	last.Header[headerBatchCommit] = []string{"1"}
	// That nobody answers is not worth trying the last message again: the others
	// went the same way.
	ack, err := f.s.js.PublishMsg(ctx, last, jetstream.WithExpectLastSequencePerSubject(f.atSeq), jetstream.WithRetryAttempts(0), jetstream.WithRetryWait(time.Millisecond))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// look reads what the bucket has, and whether the fence still stands.
func (f *Fence) look(ctx context.Context) error {
	epoch, seq, err := f.s.number(ctx, fenceKey(f.partition))
	if err != nil {
		return err
	}
	if seq != f.seq {
		return &FencedError{Partition: f.partition, Stored: epoch, Mine: f.epoch}
	}
	f.at, f.atSeq, err = f.s.reached(ctx, f.partition)
	return err
}

func (f *Fence) mine(partition int) error {
	if partition != f.partition {
		return fmt.Errorf("%w: partition %d behind the fence of partition %d", ErrBatch, partition, f.partition)
	}
	return nil
}

// number reads a key whose value is a number; 0 if there is none.
func (s *Snapshots) number(ctx context.Context, key string) (value, seq uint64, err error) {
	msg, err := s.stream.GetLastMsgForSubject(ctx, s.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("projection: read %s of bucket %s: %w", key, BucketName(s.config.Generation), err)
	}
	if removed(msg.Header) {
		return 0, msg.Sequence, nil
	}
	if value, err = strconv.ParseUint(string(msg.Data), 10, 64); err != nil {
		return 0, 0, fmt.Errorf("%w: bucket %s, key %s: %w; delete the bucket, it is made again from the store",
			ErrCorrupt, BucketName(s.config.Generation), key, err)
	}
	return value, msg.Sequence, nil
}

// wrongSequence reports whether the broker refused a write for its condition.
func wrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
