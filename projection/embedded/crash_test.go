package embedded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"holdmetrics/hold"
	"holdmetrics/internal/testseed"
	"holdmetrics/projection"
)

// crashBatch is the n-th flush: it changes every pair, page and holder.
func crashBatch(n uint64, pairs int) *projection.Batch {
	b := &projection.Batch{Partition: 1, Checkpoint: projection.Checkpoint{LogID: "log", Position: n, Epoch: 1}}
	for i := range pairs {
		holder := fmt.Sprintf("holder-%04d", i)
		figures := hold.Figures{Waiting: n}
		b.Pairs = append(b.Pairs, projection.PairChange{
			Key: projection.PairKey{Holder: holder, Token: "token"}, Figures: figures,
			Pages: []hold.Page{{Data: fmt.Append(nil, n)}, {Key: []byte("t"), Data: fmt.Append(nil, n)}},
		})
		b.Holders = append(b.Holders, projection.HolderRecord{Holder: holder, Figures: figures, Position: n})
	}
	return b
}

// wholeState reads everything and fails where it is not of one flush. It says which.
func wholeState(t *testing.T, s *Store, pairs int) uint64 {
	t.Helper()
	ctx := context.Background()
	v, err := s.View(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	c, _ := v.Checkpoint()
	want, count := fmt.Sprint(c.Position), 0
	err = v.AllPairs(ctx, func(r *projection.PairRecord) error {
		count++
		if r.Figures.Waiting != c.Position || len(r.Pages) != 2 || string(r.Pages[0].Data) != want || string(r.Pages[1].Data) != want {
			t.Fatalf("at checkpoint %d there is %+v", c.Position, r)
		}
		h, err := v.Holder(ctx, r.Key.Holder)
		if err == nil && h.Position != c.Position {
			t.Fatalf("at checkpoint %d there is %+v", c.Position, h)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Position > 0 && count != pairs {
		t.Fatalf("at checkpoint %d there are %d pairs, want %d", c.Position, count, pairs)
	}
	return c.Position
}

// crashable is a file system in memory whose power can be cut. It clones while no link is
// made: Link of Pebble's MemFS locks the same lock for reading twice, so that a CrashClone
// that comes between the two waits for ever, and lets nobody else pass.
type crashable struct {
	*vfs.MemFS
	links sync.RWMutex
}

func newCrashable() *crashable { return &crashable{MemFS: vfs.NewCrashableMem()} }

func (c *crashable) Link(from, to string) error {
	c.links.RLock()
	defer c.links.RUnlock()
	return c.MemFS.Link(from, to)
}

func (c *crashable) CrashClone(cfg vfs.CrashCloneCfg) *vfs.MemFS {
	c.links.Lock()
	defer c.links.Unlock()
	return c.MemFS.CrashClone(cfg)
}

// A power cut waits for the links that are being made, and they for it: neither for ever.
func TestPowerCutsAmongLinks(t *testing.T) {
	t.Parallel()
	fs := newCrashable()
	f, err := fs.Create("file", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	linked := make(chan error, 1)
	go func() {
		for n := range 2000 {
			if err := fs.Link("file", fmt.Sprint("link", n)); err != nil {
				linked <- err
				return
			}
		}
		linked <- nil
	}()
	for {
		select {
		case err := <-linked:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			fs.CrashClone(vfs.CrashCloneCfg{})
		}
	}
}

// The machine loses its power at any moment: what Flush acknowledged is there,
// and what was under way is there as a whole or not at all.
func TestCrash(t *testing.T) {
	t.Parallel()
	const pairs = 40
	for seed := range testseed.Seeds(t.Name(), testseed.Draws(20)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			fs := newCrashable()
			// Flushes go as batches, or as tables.
			size := estimate(crashBatch(1, pairs))
			s, err := Open("data", Options{fs: fs, MemTableBytes: 1 << 20, bulkBytes: []int{size + 1, 1}[seed%2]})
			if err != nil {
				t.Fatal(err)
			}
			// Between two cuts there are ten flushes, and at each of them as many to come.
			const between = 10
			var acked atomic.Uint64
			flushed, permits := make(chan struct{}, 1), make(chan struct{}, 2*between)
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				for n := uint64(1); ; n++ {
					if _, more := <-permits; !more {
						return
					}
					if err := s.Flush(context.Background(), crashBatch(n, pairs)); err != nil {
						t.Errorf("flush %d: %v", n, err)
						return
					}
					acked.Store(n)
					select {
					case flushed <- struct{}{}:
					default:
					}
				}
			}()
			for range between {
				permits <- struct{}{}
			}
			for round := range 6 {
				for acked.Load() < uint64(round*between) {
					select {
					case <-stopped:
						t.FailNow()
					case <-flushed:
					}
				}
				for range between {
					permits <- struct{}{}
				}
				before := acked.Load()
				clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				after := acked.Load() + 1
				again, err := Open("data", Options{fs: clone})
				if err != nil {
					t.Fatalf("open after a crash: %v", err)
				}
				if got := wholeState(t, again, pairs); got < before || got > after {
					t.Errorf("after a crash it is at flush %d, want %d to %d", got, before, after)
				}
				if err := again.Close(); err != nil {
					t.Error(err)
				}
			}
			close(permits)
			<-stopped
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The disk refuses a write or an fsync: Flush says so, the store takes no more
// calls, and the next start finds the state before.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	for _, kind := range []errorfs.OpKind{errorfs.OpFileSyncData, errorfs.OpFileWrite} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			t.Parallel()
			broken := errors.New("the disk is broken")
			var failing atomic.Bool
			mem := vfs.NewCrashableMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if failing.Load() && (op.Kind == kind || kind == errorfs.OpFileSyncData && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncTo)) {
					return broken
				}
				return nil
			}))
			s, err := Open("data", Options{fs: fs})
			if err != nil {
				t.Fatal(err)
			}
			for n := range uint64(5) {
				if err := s.Flush(context.Background(), crashBatch(n+1, 10)); err != nil {
					t.Fatal(err)
				}
			}
			failing.Store(true)
			err = s.Flush(context.Background(), crashBatch(6, 10))
			if !errors.Is(err, projection.ErrClosed) {
				t.Fatalf("flush on a broken disk: %v", err)
			}
			if err := s.Ping(context.Background()); !errors.Is(err, projection.ErrClosed) {
				t.Errorf("ping after that: %v", err)
			}
			crashed := mem.CrashClone(vfs.CrashCloneCfg{})
			failing.Store(false)
			if err := s.Close(); !errors.Is(err, projection.ErrClosed) {
				t.Errorf("close after that: %v", err)
			}
			again, err := Open("data", Options{fs: crashed})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if got := wholeState(t, again, 10); got != 5 {
				t.Errorf("after the failure it is at flush %d, want 5", got)
			}
			if err := again.Flush(context.Background(), crashBatch(6, 10)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A table that cannot be written leaves the state before, and nothing else; once
// the disk takes writes again, so does the store.
func TestTableThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, kind := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSyncData} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			t.Parallel()
			var failing atomic.Bool
			mem := vfs.NewMem()
			s, err := Open("data", Options{bulkBytes: 1, fs: errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if failing.Load() && op.Kind == kind && strings.Contains(op.Path, bulkPrefix) {
					return errors.New("no disk space")
				}
				return nil
			}))})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for n := range uint64(3) {
				failing.Store(true)
				if err := s.Flush(context.Background(), crashBatch(n+1, 10)); err == nil || errors.Is(err, projection.ErrClosed) {
					t.Fatalf("flush without disk space: %v", err)
				}
				if got := wholeState(t, s, 10); got != n {
					t.Errorf("after the failure it is at flush %d, want %d", got, n)
				}
				failing.Store(false)
				if err := s.Flush(context.Background(), crashBatch(n+1, 10)); err != nil {
					t.Fatal(err)
				}
				if got := wholeState(t, s, 10); got != n+1 {
					t.Errorf("it is at flush %d, want %d", got, n+1)
				}
			}
			names, err := mem.List("data")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if strings.HasPrefix(name, bulkPrefix) {
					t.Errorf("%s is left", name)
				}
			}
		})
	}
}

// What a crash left of tables is gone after the next start.
func TestTablesOfACrashAreRemoved(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	open := func() *Store {
		s, err := Open("data", Options{fs: mem, bulkBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if err := s.Flush(context.Background(), crashBatch(1, 10)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	left := mem.PathJoin("data", bulkPrefix+"1.sst")
	if f, err := mem.Create(left, vfs.WriteCategoryUnspecified); err != nil {
		t.Fatal(err)
	} else if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	if _, err := mem.Stat(left); err == nil {
		t.Error("it is still there")
	}
	if got := wholeState(t, s, 10); got != 1 {
		t.Errorf("it is at flush %d", got)
	}
}

// A page's key may begin another one's, and they come in any order.
func TestPagesOfATableAreInOrder(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	var keys []string
	for n := range 12 {
		for _, c := range []string{"\x00", "\x01", "i", "\xff"} {
			keys = append(keys, strings.Repeat(c, 1+n*n*3))
		}
	}
	var dumps [2][]string
	for i := range dumps {
		s, err := Open("data", Options{fs: vfs.NewMem(), bulkBytes: 1 + i<<30})
		if err != nil {
			t.Fatal(err)
		}
		rng.Shuffle(len(keys), func(a, b int) { keys[a], keys[b] = keys[b], keys[a] })
		change := projection.PairChange{Key: projection.PairKey{Holder: "h", Token: "t"}}
		for _, k := range keys {
			change.Pages = append(change.Pages, hold.Page{Key: []byte(k), Data: []byte(k)})
		}
		if err := s.Flush(context.Background(), &projection.Batch{Pairs: []projection.PairChange{change}}); err != nil {
			t.Fatal(err)
		}
		dumps[i] = dump(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(dumps[0], dumps[1]) {
		t.Error("tables and batches differ")
	}
}

// dump is all that is stored, in order.
func dump(t *testing.T, s *Store) (all []string) {
	t.Helper()
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		all = append(all, fmt.Sprintf("%x=%x", it.Key(), it.Value()))
	}
	return all
}

func TestSameBatchesSameBytes(t *testing.T) {
	t.Parallel()
	var dumps [2][]string
	for i := range dumps {
		s, err := Open("data", Options{fs: vfs.NewMem(), MemTableBytes: uint64(1+3*i) << 20, bulkBytes: 1 + i<<30})
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]string{}
		for n := range 20 {
			values[fmt.Sprint(n)] = fmt.Sprint(n * n)
		}
		if err := s.SetMeta(context.Background(), values); err != nil {
			t.Fatal(err)
		}
		for n := range uint64(30) {
			if err := s.Flush(context.Background(), crashBatch(n+1, 100)); err != nil {
				t.Fatal(err)
			}
		}
		dumps[i] = dump(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(dumps[0], dumps[1]) {
		t.Error("two stores of the same batches differ")
	}
	if len(dumps[0]) != 1+20+1+3*100 {
		t.Errorf("%d keys", len(dumps[0]))
	}
}

// A copy that is made while flushes go on is the store as one of them left it,
// not before the last one that was acknowledged.
func TestCopyWhileItIsWritten(t *testing.T) {
	t.Parallel()
	const pairs = 40
	for _, bulk := range []int{1, 0} { // as tables, as batches
		dir := t.TempDir()
		s, err := Open(dir, Options{MemTableBytes: 1 << 20, bulkBytes: bulk})
		if err != nil {
			t.Fatal(err)
		}
		var acknowledged atomic.Uint64
		ctx, stop := context.WithCancel(t.Context())
		wrote := make(chan error, 1)
		going := make(chan struct{})
		go func() {
			for n := uint64(1); ; n++ {
				if ctx.Err() != nil {
					wrote <- nil
					return
				}
				if err := s.Flush(context.Background(), crashBatch(n, pairs)); err != nil {
					wrote <- err
					return
				}
				if acknowledged.Store(n); n == 3 {
					close(going)
				}
			}
		}()
		<-going
		for i := range 3 {
			least := acknowledged.Load()
			to := fmt.Sprintf("%s-copy-%d", dir, i)
			if err := s.Copy(t.Context(), to); err != nil {
				t.Fatal(err)
			}
			other, err := Open(to, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if n := wholeState(t, other, pairs); n < least || n > acknowledged.Load()+1 {
				t.Errorf("the copy is of flush %d, acknowledged were %d", n, least)
			}
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Copy(t.Context(), dir); err == nil {
			t.Error("copied over what is there")
		}
		stop()
		if err := errors.Join(<-wrote, s.Close()); err != nil {
			t.Fatal(err)
		}
		if err := s.Copy(context.Background(), dir+"-late"); !errors.Is(err, projection.ErrClosed) {
			t.Errorf("a copy of a closed store: %v", err)
		}
	}
}
