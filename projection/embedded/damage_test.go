package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"holdmetrics/hold"
	"holdmetrics/internal/testseed"
	"holdmetrics/projection"
)

const (
	damagedFlushes = 12
	damagedPairs   = 400
)

// storedFiles writes a store that has tables, a log of writes and a manifest, and
// returns its file systems: as a power cut leaves it, and after Close.
func storedFiles(t *testing.T) (cut, closed *vfs.MemFS) {
	t.Helper()
	files := vfs.NewCrashableMem()
	s, err := Open("data", damagedOptions(files))
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(damagedFlushes) {
		pairs := damagedPairs
		if n%3 == 0 {
			pairs = damagedPairs / 8 // as a batch, and not as tables
		}
		if err := s.Flush(context.Background(), crashBatch(n+1, pairs)); err != nil {
			t.Fatal(err)
		}
	}
	cut = files.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return cut, files
}

func damagedOptions(files vfs.FS) Options {
	return Options{fs: files, MemTableBytes: 1 << 20, bulkBytes: 200 << 10, closeWithin: time.Second}
}

// hurt damages one file, and says how.
func hurt(t *testing.T, files *vfs.MemFS, rng *rand.Rand) string {
	t.Helper()
	names, err := files.List("data")
	if err != nil {
		t.Fatal(err)
	}
	var path string
	var content []byte
	for len(content) == 0 {
		path = files.PathJoin("data", names[rng.IntN(len(names))])
		file, err := files.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if content, err = io.ReadAll(file); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
	how := ""
	switch at := rng.IntN(len(content)); rng.IntN(4) {
	case 0:
		content, how = content[:at], fmt.Sprintf("%s is cut at %d", path, at)
	case 1:
		n := min(4096, len(content)-at)
		clear(content[at : at+n])
		how = fmt.Sprintf("%s has zeros from %d on", path, at)
	default:
		for range 1 + rng.IntN(5) {
			at = rng.IntN(len(content))
			content[at] ^= byte(1 + rng.IntN(255))
		}
		how = fmt.Sprintf("%s has other bytes, one of them at %d", path, at)
	}
	file, err := files.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return how
}

// readAll reads a store in all ways. Where nothing is wrong, it compares what it reads
// with what the flushes up to the checkpoint wrote.
func readAll(s *Store) (position uint64, err error) {
	ctx := context.Background()
	v, err := s.View(ctx, 1)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	c, _ := v.Checkpoint()
	// last is the flush that wrote a holder last.
	last := func(holder string) uint64 {
		n := c.Position
		if n%3 == 1 && holder >= fmt.Sprintf("holder-%04d", damagedPairs/8) {
			n--
		}
		return n
	}
	var wrong error
	check := func(what, holder string, n uint64) {
		if want := last(holder); n != want && wrong == nil {
			wrong = fmt.Errorf("at checkpoint %d the %s of %s is of flush %d, want %d", c.Position, what, holder, n, want)
		}
	}
	keys, holders := []projection.PairKey{}, []string{}
	errs := []error{
		v.AllPairs(ctx, func(r *projection.PairRecord) error {
			check("pair", r.Key.Holder, r.Figures.Waiting)
			for _, page := range r.Pages {
				if want := fmt.Sprint(r.Figures.Waiting); string(page.Data) != want && wrong == nil {
					wrong = fmt.Errorf("the page of a pair of flush %s is %q", want, page.Data)
				}
			}
			keys = append(keys, r.Key)
			return nil
		}),
		s.Holders(ctx, 1, "", func(h *projection.HolderRecord) error {
			check("record", h.Holder, h.Position)
			holders = append(holders, strings.Clone(h.Holder))
			return nil
		}),
		s.ChangedSince(ctx, 1, 0, func(h *projection.HolderRecord) error { check("change", h.Holder, h.Position); return nil }),
	}
	if _, err := s.Load(ctx, 1, keys); err != nil {
		errs = append(errs, err)
	}
	if _, err := s.LoadHolders(ctx, 1, holders); err != nil {
		errs = append(errs, err)
	}
	if _, err := s.KeysAfter(ctx, 1, projection.PairKey{}, 1<<20); err != nil {
		errs = append(errs, err)
	}
	if len(keys) > 0 {
		_, err := s.Page(ctx, 1, keys[0], []byte("t"))
		errs = append(errs, err,
			s.HolderPairs(ctx, 1, keys[0].Holder, func(projection.PairKey, hold.Figures) error { return nil }))
	}
	if err := errors.Join(errs...); err != nil {
		return c.Position, err
	}
	if wrong == nil && c.Position > 1 && (len(keys) != damagedPairs || len(holders) != damagedPairs) {
		wrong = fmt.Errorf("at checkpoint %d there are %d pairs and %d holders, want %d", c.Position, len(keys), len(holders), damagedPairs)
	}
	if wrong != nil {
		panic(wrong) // wrong figures, and no error
	}
	return c.Position, nil
}

// damagedHelper marks the process in which files are damaged. A database that has given
// up leaves goroutines of its own behind, which nothing can end.
const damagedHelper = "HOLDMETRICS_TEST_DAMAGE"

// A store with damaged files opens and gives what it had at a checkpoint, or it returns
// an error that says what to do, and says so from then on. It never panics.
func TestDamagedFiles(t *testing.T) {
	if os.Getenv(damagedHelper) == "" {
		t.Parallel()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		other := exec.CommandContext(t.Context(), self, "-test.run=^TestDamagedFiles$", "-test.v")
		other.Env = append(os.Environ(), damagedHelper+"=1")
		if out, err := other.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	cut, closed := storedFiles(t)
	for seed := range testseed.Seeds(t.Name(), testseed.Draws(24)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 16))
			files := []*vfs.MemFS{cut, closed}[seed%2].CrashClone(vfs.CrashCloneCfg{})
			how := hurt(t, files, rng)
			s, err := Open("data", damagedOptions(files))
			if err != nil {
				t.Logf("%s: open: %v", how, err)
				if !errors.Is(err, projection.ErrCorrupt) && !errors.Is(err, projection.ErrForeign) || !strings.Contains(err.Error(), "holdmetrics rebuild") {
					t.Errorf("%s: open: %v", how, err)
				}
				return
			}
			at, err := readAll(s)
			t.Logf("%s: at %d: %v", how, at, err)
			if err != nil && (!errors.Is(err, projection.ErrCorrupt) || !strings.Contains(err.Error(), "holdmetrics rebuild")) {
				t.Errorf("%s: read: %v", how, err)
			}
			if err != nil && !errors.Is(s.Ping(context.Background()), projection.ErrCorrupt) {
				t.Errorf("%s: a read failed with %v, and the store is well: %v", how, err, s.Ping(context.Background()))
			}
			// What is written behind the damage ends in one of the two ways, too.
			for n := at; n < at+2; n++ {
				err := s.Flush(context.Background(), crashBatch(n+1, damagedPairs))
				if err != nil && !errors.Is(err, projection.ErrCorrupt) && !errors.Is(err, projection.ErrClosed) {
					t.Errorf("%s: flush: %v", how, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Logf("%s: close: %v", how, err)
			}
		})
	}
}
