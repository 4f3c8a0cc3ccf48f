package query

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"holdmetrics/internal/fair"
)

// How reads share the machine.
//
// A read of the store works, and encodes what it read, only while it has a turn. Where
// others wait, it gives the turn back after a millisecond, and loses it while it waits
// for its client. Clients take turns: one that has hundreds of reads under way has as many turns as one that has a
// single read. So a read waits for about a millisecond for each other client that is
// at work, however much they have asked for.
//
// Reads that may go on for long, because they go through all holders or all holds,
// are bounded in number as well, since each has some memory and a view of the store.
// Reads that go through all pairs for one answer, which are sums and the rankings of
// tokens, take long even for a client that waits, so few of them run at a time.

// Bounds are how much reads may ask of a gateway. A zero stands for the default.
type Bounds struct {
	Reads     int // long reads under way at once
	ReadsEach int // of those, of one client
	// Wait is how long a read waits for a place.
	Wait time.Duration
	// HistoryCost is how many readings of pairs a history may take. A reading by a rule
	// that measures runs counts as many times as the pair has holds.
	HistoryCost int64
}

// The defaults of [Bounds].
const (
	DefaultReads       = 128
	DefaultReadsEach   = 32
	DefaultReadWait    = 15 * time.Second
	DefaultHistoryCost = 20_000_000 // some seconds of one core
)

const (
	// maxWalks is how many reads may go through all pairs of the store at the same time,
	// of one client one less.
	maxWalks = 2
	// maxLargeExplains is how many pairs of more than largePair holds may be explained at the
	// same time, of one client half as many. Each takes up to 16 MB.
	maxLargeExplains = 8
	largePair        = 64 << 10
	// waitingFor is how many reads may wait for each place.
	waitingFor = 8
)

// withDefaults returns the bounds with defaults in place of zeros.
func (b Bounds) withDefaults() Bounds {
	if b.Reads <= 0 {
		b.Reads = DefaultReads
	}
	if b.ReadsEach <= 0 {
		b.ReadsEach = DefaultReadsEach
	}
	if b.Wait <= 0 {
		b.Wait = DefaultReadWait
	}
	if b.HistoryCost <= 0 {
		b.HistoryCost = DefaultHistoryCost
	}
	return b
}

// gates are where reads wait for their turns.
type gates struct {
	turns *fair.Gate // for those that read the store now
	reads *fair.Gate // for long reads
	walks *fair.Gate // for reads that go through all pairs
	large *fair.Gate // for explanations of large pairs
}

func newGates(b Bounds) gates {
	places := max(2, runtime.GOMAXPROCS(0))
	return gates{
		turns: fair.New(fair.Config{Places: places}),
		reads: fair.New(fair.Config{Places: b.Reads, Each: b.ReadsEach, Waiting: waitingFor * b.Reads, WaitingEach: waitingFor * b.ReadsEach, Patience: b.Wait}),
		walks: fair.New(fair.Config{Places: maxWalks, Each: maxWalks - 1, Waiting: 64, WaitingEach: 16, Patience: 2 * b.Wait}),
		large: fair.New(fair.Config{Places: maxLargeExplains, Each: maxLargeExplains / 2, Waiting: 64, WaitingEach: 16, Patience: b.Wait}),
	}
}

// ErrCrowded says that too many reads of a kind are under way.
var ErrCrowded = errors.New("gateway: too many reads of this kind are under way")

// crowded names what was asked for where a gate had no place.
func crowded(err error, what, instead string) error {
	if !errors.Is(err, fair.ErrFull) {
		return err
	}
	return fmt.Errorf("%w: %s: %w: ask again later, %s", ErrCrowded, what, err, instead)
}

// clientKey is where a context has its client.
type clientKey struct{}

// ClientAt returns the client of a connection from an address: all connections from one
// host are one client.
func ClientAt(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// WithClient returns a context of reads of a client. Clients take turns.
func WithClient(ctx context.Context, client string) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// ClientOf returns the client of a context, or "" if it has none.
func ClientOf(ctx context.Context) string {
	client, _ := ctx.Value(clientKey{}).(string)
	return client
}

// long waits for a place among the long reads. The caller calls leave when it has ended.
func (s *Service) long(ctx context.Context) (leave func(), err error) {
	t := s.gates.reads.Turn(ClientOf(ctx))
	if err := t.Enter(ctx); err != nil {
		return nil, crowded(err, "reads of all holders, of holds and of histories", "or read faster what was asked for")
	}
	return t.Leave, nil
}

// walk waits for a place among the reads that go through all pairs.
func (s *Service) walk(ctx context.Context, client, what string) (leave func(), err error) {
	t := s.gates.walks.Turn(client)
	if err := t.Enter(ctx); err != nil {
		return nil, crowded(err, what, "and not for many at once")
	}
	return t.Leave, nil
}

// turn waits for a turn of the context's client.
func (s *Service) turn(ctx context.Context) (*fair.Turn, error) {
	t := s.gates.turns.Turn(ClientOf(ctx))
	if err := t.Enter(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// pausing returns emit so that the turn is others' while the client is waited for, and
// after a row, if it is over.
func pausing[T any](ctx context.Context, turn *fair.Turn, emit func(*T) error) func(*T) error {
	return func(row *T) error {
		turn.Pause()
		if err := emit(row); err != nil {
			return err
		}
		if err := turn.Resume(ctx); err != nil {
			return err
		}
		return turn.Yield(ctx)
	}
}
