package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// publishWindow is how many puts of one Publish may wait for their
	// acknowledgement: enough to keep the broker busy for some milliseconds.
	publishWindow = 1024
	// publishPending bounds what all Publish calls together have in flight. No
	// Publish gets there (a window for each partition), so none is refused.
	publishPending = 1 << 20
	// publishTimeout is how long an acknowledgement may take, where the
	// caller's context does not end first: a put may be lost with its connection.
	publishTimeout = 10 * time.Second
)

// Entry is one snapshot: a holder's subject token and the encoded HoldStat.
type Entry struct {
	Key   string
	Value []byte
	Gone  bool // there is no such holder, so the key is removed; of a bucket with one owner
}

// Snapshots writes the snapshot bucket of one generation. It is safe for
// concurrent use; one partition has one writer at a time.
type Snapshots struct {
	config    SnapshotConfig
	js        jetstream.JetStream // the caller's, for requests
	publisher jetstream.JetStream // our own, so that no one else's puts fill it up
	stream    jetstream.Stream
	prefix    string // of subjects
	burst     burst  // of a bucket that has one owner
	foreign   foreign
	feed      feed
	renewal   renewal
}

// OpenSnapshots opens the bucket of a generation, and makes it if it does not exist.
// The error wraps [ErrForeign] if a stream of that name is something else, or keeps
// its data otherwise than asked for.
func OpenSnapshots(ctx context.Context, js jetstream.JetStream, c SnapshotConfig) (*Snapshots, error) {
	stream, err := openBucket(ctx, js, c)
	if err != nil {
		return nil, err
	}
	publisher, err := newPublisher(js)
	if err != nil {
		return nil, fmt.Errorf("projection: open snapshot bucket %s: %w", BucketName(c.Generation), err)
	}
	s := &Snapshots{config: c, js: js, publisher: publisher, stream: stream, prefix: subjectPrefix(c.Generation)}
	s.burst.counted(0)
	return s, nil
}

// newPublisher is js once more, with limits of its own.
func newPublisher(js jetstream.JetStream) (jetstream.JetStream, error) {
	limits := []jetstream.JetStreamOpt{
		jetstream.WithPublishAsyncMaxPending(publishPending),
		jetstream.WithPublishAsyncTimeout(publishTimeout),
	}
	switch o := js.Options(); {
	case o.Domain != "":
		return jetstream.NewWithDomain(js.Conn(), o.Domain, limits...)
	case o.APIPrefix != "" && o.APIPrefix != jetstream.DefaultAPIPrefix:
		return jetstream.NewWithAPIPrefix(js.Conn(), o.APIPrefix, limits...)
	}
	return jetstream.New(js.Conn(), limits...)
}

// Generation is the name of the generation.
func (s *Snapshots) Generation() string { return s.config.Generation }

// Publish puts snapshots of one partition, and then that the bucket has all up to
// a point of the log. It returns when the broker has acknowledged everything.
//
// Puts go out one behind the other without waiting; only the position waits for
// all of them (see burst where the bucket has one owner), so a bucket never
// claims what it does not have. After an error
// some of the snapshots may be there and the position is not; publishing again
// is harmless. Keys are distinct. Values are not kept.
func (s *Snapshots) Publish(ctx context.Context, partition int, entries []Entry, to Reached) error {
	if s.config.Async {
		all := append(slices.Clip(entries), Entry{Key: positionKey(partition), Value: to.append(nil)})
		if err := s.putBurst(ctx, all); err != nil {
			return fmt.Errorf("projection: publish %d snapshots of partition %d: %w", len(entries), partition, err)
		}
		return nil
	}
	if err := s.putAll(ctx, entries); err != nil {
		return fmt.Errorf("projection: publish %d snapshots of partition %d: %w", len(entries), partition, err)
	}
	if err := s.putAll(ctx, []Entry{{Key: positionKey(partition), Value: to.append(nil)}}); err != nil {
		return fmt.Errorf("projection: publish the position of partition %d: %w", partition, err)
	}
	return nil
}

// putAll puts entries with a window of puts in flight. It waits for what it sent
// also when one fails, so that nothing of it arrives after a later Publish.
func (s *Snapshots) putAll(ctx context.Context, entries []Entry) error {
	var (
		ring  = make([]jetstream.PubAckFuture, min(publishWindow, len(entries)))
		sent  int
		acked int
		first error
	)
	for sent < len(entries) && first == nil {
		if sent-acked == len(ring) {
			first = await(ctx, ring[acked%len(ring)])
			acked++
			continue
		}
		e := &entries[sent]
		future, err := s.publisher.PublishMsgAsync(s.message(e))
		if err != nil {
			first = err
			break
		}
		ring[sent%len(ring)] = future
		sent++
	}
	for ; acked < sent; acked++ {
		if err := await(ctx, ring[acked%len(ring)]); first == nil {
			first = err
		}
	}
	return first
}

func await(ctx context.Context, f jetstream.PubAckFuture) error {
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Position is the position that the bucket has all of; 0 where nothing of the
// partition was ever published.
func (s *Snapshots) Position(ctx context.Context, partition int) (uint64, error) {
	at, _, err := s.reached(ctx, partition)
	return at.Position, err
}

// reached is what the position key says, and the sequence of its message.
func (s *Snapshots) reached(ctx context.Context, partition int) (Reached, uint64, error) {
	msg, err := s.stream.GetLastMsgForSubject(ctx, s.prefix+positionKey(partition))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Reached{}, 0, nil
	}
	if err != nil {
		return Reached{}, 0, fmt.Errorf("projection: read the position of partition %d: %w", partition, err)
	}
	if removed(msg.Header) {
		return Reached{}, msg.Sequence, nil
	}
	at, err := parseReached(msg.Data)
	if err != nil && s.config.Async {
		return Reached{}, msg.Sequence, nil // its owner compares all snapshots at its start
	}
	if err != nil {
		return Reached{}, 0, fmt.Errorf("%w: bucket %s, key %s: %w; delete the bucket, it is made again from the store",
			ErrCorrupt, BucketName(s.config.Generation), positionKey(partition), err)
	}
	return at, msg.Sequence, nil
}

// Close gives up what Publish waits on. No Publish may be under way; the
// connection and views stay open.
func (s *Snapshots) Close() { s.publisher.CleanupPublisher() }
