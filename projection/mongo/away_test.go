package mongo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
	"holdmetrics/projection/mongo/mongotest"
)

// ownServer is a server that the test may kill.
func ownServer(t *testing.T) *mongotest.Server {
	t.Helper()
	s, err := mongotest.Own()
	if errors.Is(err, mongotest.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The server is killed while partitions are flushed and read. The calls wait and
// then succeed, on the same store; nothing that was acknowledged is lost, and no
// view ever shows half of a flush.
func TestServerIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	s, err := Open(context.Background(), Config{URL: server.URL, Patience: 5 * time.Minute, ServerSelection: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const partitions, kills = 3, 4
	var (
		flushes atomic.Int64
		stop    = make(chan struct{})
		owners  [partitions]*owner
		load    sync.WaitGroup
	)
	for p := range partitions {
		o := newOwner(p, 1)
		owners[p] = o
		load.Go(func() {
			random := rand.New(rand.NewPCG(uint64(p), 1))
			for i := int64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				for range 50 {
					from := random.Int64N(10_000)
					o.add(fmt.Sprint("holder-", random.IntN(20)), fmt.Sprint("token-", random.IntN(3)), ended(from, from+random.Int64N(100)))
				}
				o.add("every", "token", ended(i, i+1)) // once a flush
				if err := s.Flush(context.Background(), o.batch()); err != nil {
					t.Errorf("flush: %v", err)
					return
				}
				clear(o.fresh)
				flushes.Add(1)
			}
		})
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := viewIsWhole(s, p); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range kills {
		for before := flushes.Load(); flushes.Load() < before+2*partitions && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
		server.Kill()
		if err := server.Start(); err != nil {
			t.Error(err)
			break
		}
	}
	for before := flushes.Load(); flushes.Load() < before+partitions && !t.Failed(); {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	load.Wait()
	if t.Failed() {
		return
	}
	again, err := Open(context.Background(), Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for p, o := range owners {
		compare(t, shown(t, again, p), o.want())
	}
	t.Logf("%d flushes, %d kills", flushes.Load(), kills)
}

// viewIsWhole compares what a view has with its checkpoint: each flush is 51 events.
func viewIsWhole(s *Store, partition int) error {
	v, err := s.View(context.Background(), partition)
	if err != nil {
		return err
	}
	defer v.Close()
	c, _ := v.Checkpoint()
	facts, want := 0, int(c.Position/51)
	err = v.AllPairs(context.Background(), func(r *projection.PairRecord) error {
		p, err := r.Open()
		if err == nil && r.Key.Holder == "every" {
			facts = p.Len()
		}
		if err == nil && p.Figures(r.Figures.Line.Since) != r.Figures {
			err = fmt.Errorf("pair %v of position %d has figures that are not those of its facts", r.Key, c.Position)
		}
		return err
	})
	if err == nil && facts != want {
		err = fmt.Errorf("partition %d at position %d shows %d flushes, want %d", partition, c.Position, facts, want)
	}
	return err
}

// A server that is away when the store is opened is waited for; one that stays
// away longer than a call is patient is reported.
func TestServerIsAway(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	server.Stop()

	ctx, cancel := context.WithCancel(context.Background())
	c := Config{URL: server.URL, ServerSelection: 50 * time.Millisecond, Patience: time.Millisecond}
	reported := make(chan string, 10)
	c.Logger = logger(func(line string) { reported <- line })
	done := make(chan error, 1)
	go func() {
		_, err := Open(ctx, c)
		done <- err
	}()
	<-reported // it has met that nobody is there
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("open that was given up: %v", err)
	}

	opened := make(chan *Store, 1)
	go func() {
		s, err := Open(context.Background(), c)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	<-reported
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	s := <-opened
	if s == nil {
		return
	}
	defer s.Close()
	s.most = 2 * time.Minute
	o := newOwner(0, 1)
	o.add("x", "t", opening(1))
	o.flush(t, s)

	server.Kill()
	s.most = time.Millisecond
	o.add("x", "t", opening(2))
	if err := s.Flush(context.Background(), o.batch()); !errors.Is(err, projection.ErrUnavailable) {
		t.Errorf("flush: %v, want ErrUnavailable", err)
	}
	if err := s.Ping(context.Background()); !errors.Is(err, projection.ErrUnavailable) {
		t.Errorf("ping: %v, want ErrUnavailable", err)
	}
	if _, err := s.View(context.Background(), 0); !errors.Is(err, projection.ErrUnavailable) {
		t.Errorf("view: %v, want ErrUnavailable", err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	s.most = 2 * time.Minute
	o.flush(t, s)
	compare(t, shown(t, s, 0), o.want())
}

// A server that is stopped in its tracks answers nothing and breaks nothing off.
func TestServerIsPaused(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	s, err := Open(context.Background(), Config{URL: server.URL, Patience: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o := newOwner(0, 1)
	o.add("x", "t", opening(1))
	o.flush(t, s)

	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	s.operation, s.most = 200*time.Millisecond, time.Millisecond
	o.add("x", "t", hold.Fact{Kind: hold.KindStop, End: second(9)})
	if err := s.Flush(context.Background(), o.batch()); !errors.Is(err, projection.ErrUnavailable) {
		t.Errorf("flush: %v, want ErrUnavailable", err)
	}
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
	s.operation, s.most = time.Minute, 2*time.Minute
	o.flush(t, s)
	compare(t, shown(t, s, 0), o.want())
}

type logger func(string)

func (l logger) Infof(format string, args ...any)  { l(fmt.Sprintf(format, args...)) }
func (l logger) Errorf(format string, args ...any) { l(fmt.Sprintf(format, args...)) }
