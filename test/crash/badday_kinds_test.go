package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/natstest"
)

// dayKind is what goes wrong on a bad day.
type dayKind struct {
	name   string
	heals  bool // it does no damage that lasts, so the day has to end right
	quiet  bool // it comes when everything is applied and nothing is sent
	quick  bool // it is part of the short run
	weight int  // how often it is drawn
	do     func(*day) error
	ready  func(*day) error // before the first start; nil: nothing
}

func (k *dayKind) prepare(d *day) error {
	if k.ready == nil {
		return nil
	}
	return k.ready(d)
}

// dayKinds are those that this machine can have.
func dayKinds() []*dayKind {
	kinds := []*dayKind{
		{name: "kills", heals: true, quick: true, weight: 2, do: (*day).kills},
		{name: "a stopped process", heals: true, weight: 1, do: (*day).pauses},
		{name: "a network that stalls", heals: true, weight: 2, do: (*day).stalls},
		{name: "one file damaged while down", weight: 3, do: (*day).damageDown},
		{name: "one file damaged while up", weight: 2, do: (*day).damageUp},
		{name: "the log damaged while down", weight: 3, do: (*day).logDown},
		{name: "the log damaged while up", weight: 2, do: (*day).logUp},
		{name: "the snapshots damaged", quick: true, weight: 3, do: (*day).snapshotsDown},
		{name: "the snapshots changed by a client", heals: true, quiet: true, weight: 3, do: (*day).snapshotsUp},
		{name: "the store damaged", quick: true, weight: 3, do: (*day).storeDown},
		{name: "the records of generations damaged", weight: 2, do: (*day).recordsDown},
		{name: "a part of yesterday", weight: 3, do: (*day).yesterday},
	}
	kinds = append(kinds, limitedKinds()...)
	if *badKind == "" {
		return kinds
	}
	var named []*dayKind
	for _, k := range kinds {
		if strings.Contains(k.name, *badKind) {
			named = append(named, k)
		}
	}
	return named
}

func drawKind(r *rand.Rand, kinds []*dayKind) *dayKind {
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	n := r.IntN(sum)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			return k
		}
	}
	return kinds[0]
}

// kills ends the server at moments of its start and of its work.
func (d *day) kills() error {
	for range d.between(1, 4) {
		d.load.wanted.Add(int64(d.between(20, 200)))
		d.load.wake()
		time.Sleep(d.moment(400 * time.Millisecond))
		d.tell("killed")
		if err := d.srv.stop(syscall.SIGKILL); err != nil {
			return err
		}
		if err := d.srv.launch(); err != nil {
			return err
		}
		if d.rand.IntN(2) == 0 {
			if err := d.srv.awaitUp(); err != nil {
				return err
			}
		}
	}
	return d.srv.awaitUp()
}

// pauses stops the process, which goes on later.
func (d *day) pauses() error {
	for range d.between(1, 3) {
		d.load.wanted.Add(int64(d.between(20, 200)))
		d.load.wake()
		time.Sleep(d.moment(200 * time.Millisecond))
		d.tell("stopped for a while")
		d.srv.signal(syscall.SIGSTOP)
		time.Sleep(100*time.Millisecond + d.moment(2*time.Second))
		d.srv.signal(syscall.SIGCONT)
	}
	return nil
}

// down ends the server, by a kill or a stop, while events come.
func (d *day) down() error {
	d.load.wanted.Add(int64(d.between(0, 200)))
	d.load.wake()
	time.Sleep(d.moment(200 * time.Millisecond))
	signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[d.rand.IntN(2)]
	d.tell("%v", signal)
	return d.srv.stop(signal)
}

// up starts the server again, which may end by itself: that is for judge.
func (d *day) up() error {
	// Events are sent from the first moment on.
	d.load.wanted.Add(int64(d.between(0, 200)))
	d.load.wake()
	if err := d.srv.start(); err != nil && !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// whileDown damages something while the server is down.
func (d *day) whileDown(damage func() error) error {
	if err := d.down(); err != nil {
		return err
	}
	if err := damage(); err != nil {
		return err
	}
	return d.up()
}

// Directories of a data directory, and of its streams.
func (d *day) streams() string {
	return filepath.Join(d.data, "nats", "jetstream", "$G", "streams")
}

func (d *day) logFiles() []string {
	return files(filepath.Join(d.streams(), "HOLD_EVENTS"))
}

func (d *day) bucket() string {
	found, _ := filepath.Glob(filepath.Join(d.streams(), "KV_HOLD_STATS_*"))
	if len(found) == 0 {
		return filepath.Join(d.streams(), "none")
	}
	return found[len(found)-1]
}

// files are the regular files below a directory, in order, but for empty ones.
func files(dir string) (found []string) {
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // a server that runs removes some meanwhile
		}
		if info, err := e.Info(); err == nil && info.Size() > 0 {
			found = append(found, path)
		}
		return nil
	})
	return found
}

// spoil damages a file in one of several ways. A file that is gone meanwhile stays so.
func (d *day) spoil(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	name, _ := filepath.Rel(d.root, path)
	size := info.Size()
	switch d.rand.IntN(8) {
	case 0:
		d.tell("%s (%d bytes) is removed", name, size)
		err = os.Remove(path)
	case 1, 2:
		to := d.rand.Int64N(size)
		if d.rand.IntN(2) == 0 {
			to = size / 2
		}
		d.tell("%s (%d bytes) is cut to %d", name, size, to)
		err = os.Truncate(path, to)
	case 3:
		n := min(size, 1+d.rand.Int64N(4096))
		at := d.rand.Int64N(size - n + 1)
		d.tell("%s (%d bytes): %d bytes from %d on are zero", name, size, n, at)
		err = changeFile(path, at, n, func(byte) byte { return 0 })
	case 4:
		d.tell("%s (%d bytes) has rubbish behind its end", name, size)
		rubbish := make([]byte, d.between(1, 200))
		for i := range rubbish {
			rubbish[i] = byte(d.rand.Uint32())
		}
		err = appendTo(path, rubbish)
	default:
		n := min(size, 1+d.rand.Int64N(40))
		at := d.rand.Int64N(size - n + 1)
		mask := byte(1 + d.rand.IntN(255))
		d.tell("%s (%d bytes): %d bytes from %d on are flipped", name, size, n, at)
		err = changeFile(path, at, n, func(b byte) byte { return b ^ mask })
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// changeFile changes bytes of a file in place.
func changeFile(path string, at, n int64, to func(byte) byte) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	content := make([]byte, n)
	if n, err = readAt(f, content, at); err != nil {
		return err
	}
	for i := range content[:n] {
		content[i] = to(content[i])
	}
	_, err = f.WriteAt(content[:n], at)
	return err
}

func readAt(f *os.File, to []byte, at int64) (int64, error) {
	n, err := f.ReadAt(to, at)
	if n > 0 {
		err = nil // a server that runs has cut it
	}
	return int64(n), err
}

func appendTo(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// spoilSome damages one file of several, rarely more.
func (d *day) spoilSome(all []string) error {
	for len(all) > 0 {
		i := d.rand.IntN(len(all))
		if err := d.spoil(all[i]); err != nil {
			return err
		}
		all = append(all[:i:i], all[i+1:]...)
		if d.rand.IntN(4) > 0 {
			break
		}
	}
	return nil
}

func (d *day) damageDown() error {
	return d.whileDown(func() error { return d.spoilSome(files(d.data)) })
}

func (d *day) damageUp() error {
	d.load.wanted.Add(int64(d.between(0, 200)))
	d.load.wake()
	return d.spoilUp(files(d.data))
}

// spoilUp damages some of the files while the server runs and takes events. Half of the
// time it is started again then.
func (d *day) spoilUp(files []string) error {
	if err := d.spoilSome(files); err != nil {
		return err
	}
	d.load.wanted.Add(int64(d.between(0, 100)))
	d.load.wake()
	time.Sleep(d.moment(300 * time.Millisecond))
	if d.rand.IntN(2) == 0 {
		return nil
	}
	if err := d.down(); err != nil {
		return err
	}
	return d.up()
}

func (d *day) logDown() error {
	return d.whileDown(func() error {
		if d.rand.IntN(3) > 0 {
			return d.spoilSome(d.logFiles())
		}
		// The end of the log is cut off, and the index that knows of it.
		blocks, err := filepath.Glob(filepath.Join(d.streams(), "HOLD_EVENTS", "msgs", "*.blk"))
		if err != nil || len(blocks) == 0 {
			return fmt.Errorf("no block of the log: %w", err)
		}
		last := blocks[len(blocks)-1]
		info, err := os.Stat(last)
		if err != nil {
			return err
		}
		to := info.Size() / int64(d.between(2, 20)) * int64(d.between(1, 3))
		d.tell("the last block of the log is cut from %d to %d, and its index removed", info.Size(), to)
		if err := os.Truncate(last, min(to, info.Size())); err != nil {
			return err
		}
		index := filepath.Join(filepath.Dir(last), "index.db")
		if err := os.Remove(index); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	})
}

func (d *day) logUp() error { return d.spoilUp(d.logFiles()) }

func (d *day) snapshotsDown() error {
	return d.whileDown(func() error { return d.spoilSome(files(d.bucket())) })
}

func (d *day) storeDown() error {
	return d.whileDown(func() error { return d.spoilSome(files(filepath.Join(d.data, "store"))) })
}

func (d *day) recordsDown() error {
	return d.whileDown(func() error {
		if d.rand.IntN(4) == 0 {
			d.tell("the records of generations are removed")
			return os.RemoveAll(filepath.Join(d.streams(), "KV_HOLD_META"))
		}
		return d.spoilSome(files(filepath.Join(d.streams(), "KV_HOLD_META")))
	})
}

// yesterday brings back an old copy of one part of the data directory: of the log, of
// the snapshots, of the store, or of the records.
func (d *day) yesterday() error {
	if err := d.down(); err != nil {
		return err
	}
	part := []string{
		filepath.Join(d.streams(), "HOLD_EVENTS"), d.bucket(), filepath.Join(d.data, "store"),
		filepath.Join(d.streams(), "KV_HOLD_META"), filepath.Join(d.data, "nats"),
	}[d.rand.IntN(5)]
	old := filepath.Join(d.root, "yesterday")
	if err := os.CopyFS(old, os.DirFS(part)); err != nil {
		return err
	}
	if err := d.up(); err != nil {
		return err
	}
	if err := d.load.more(d.between(10, 200)); err != nil {
		return err
	}
	if filepath.Base(part) == "nats" {
		// The store alone knows of today then, so it has to have what was acknowledged.
		if err := d.srv.stop(syscall.SIGTERM); err != nil {
			return err
		}
	} else if err := d.down(); err != nil {
		return err
	}
	name, _ := filepath.Rel(d.root, part)
	d.tell("%s is yesterday's", name)
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.Rename(old, part); err != nil {
		return err
	}
	return d.up()
}

// client connects to the server's broker, as anybody can.
func (d *day) client(ctx context.Context) (*nats.Conn, jetstream.JetStream, error) {
	conn, err := nats.Connect("nats://"+d.srv.nats, nats.Timeout(dayCall), natstest.Operator(d.data))
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(conn)
	return conn, js, err
}

// snapshotsUp has a client of the broker write to the bucket, purge it, or remove from it.
// After some of it the server is killed at once.
func (d *day) snapshotsUp() error {
	ctx, cancel := context.WithTimeout(d.t.Context(), dayStart)
	defer cancel()
	conn, js, err := d.client(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for range d.between(1, 4) {
		if err := d.meddle(ctx, js, strings.TrimPrefix(filepath.Base(d.bucket()), "KV_")); err != nil {
			return err
		}
	}
	if d.rand.IntN(3) > 0 {
		return nil
	}
	if err := d.down(); err != nil {
		return err
	}
	return d.up()
}

// meddle does one thing to the bucket that a client can do.
func (d *day) meddle(ctx context.Context, js jetstream.JetStream, bucket string) error {
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return err
	}
	keys, err := kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil // it was purged
	}
	if err != nil {
		return err
	}
	var holders, positions []string
	for _, key := range keys {
		if strings.HasPrefix(key, "_pos.") {
			positions = append(positions, key)
		} else if !strings.HasPrefix(key, "_") {
			holders = append(holders, key)
		}
	}
	if len(holders) == 0 || len(positions) == 0 {
		return nil
	}
	one, other, position := holders[d.rand.IntN(len(holders))], holders[d.rand.IntN(len(holders))], positions[d.rand.IntN(len(positions))]
	put := func(to string, value []byte) error {
		_, err := kv.Put(ctx, to, value)
		return err
	}
	entry, err := kv.Get(ctx, one)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	switch d.rand.IntN(9) {
	case 0:
		d.tell("the bucket is purged")
		stream, err := js.Stream(ctx, "KV_"+bucket)
		if err != nil {
			return err
		}
		return stream.Purge(ctx)
	case 1:
		d.tell("the snapshot of %s is removed", one)
		return kv.Delete(ctx, one)
	case 2:
		d.tell("the snapshot of %s becomes rubbish", one)
		return put(one, []byte("\x0a\xff no snapshot"))
	case 3:
		d.tell("a holder that does not exist gets the snapshot of %s", one)
		forged, err := forgeHolder(entry.Value(), "nobody", d.rand.IntN(2) == 0)
		if err != nil {
			return err
		}
		return put("nobody", forged)
	case 4:
		d.tell("the snapshot of %s is put at %s", one, other)
		return put(other, entry.Value())
	case 5:
		at := []string{"0", "1", "1000000", "rubbish", "18446744073709551615"}[d.rand.IntN(5)]
		d.tell("%s becomes %s", position, at)
		return put(position, []byte(at))
	case 6:
		d.tell("%s is removed", position)
		return kv.Delete(ctx, position)
	}
	how := d.rand.IntN(3)
	d.tell("the snapshot of %s becomes another score, of position %s", one, [...]string{"its own", "a later one", "an earlier one"}[how])
	forged, err := forge(entry.Value(), how)
	if err != nil {
		return err
	}
	return put(one, forged)
}
