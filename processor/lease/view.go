package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/internal/backoff"
	"holdmetrics/internal/kvwatch"
)

// Worker is a live worker, as its key says.
type Worker struct {
	ID      string          `json:"id"`
	Session string          `json:"session"` // of this run of it
	Host    string          `json:"host,omitempty"`
	Version string          `json:"version,omitempty"`
	Started time.Time       `json:"started"`
	Leaving bool            `json:"leaving,omitempty"` // it gives away what it has, and takes nothing
	Report  json.RawMessage `json:"report,omitempty"`  // what it says of its partitions
	Heard   time.Time       `json:"-"`                 // when the broker took the key, by the broker's clock
}

// Owner is who owns a partition, as its key says.
type Owner struct {
	Worker   string `json:"worker"`
	Session  string `json:"session"`
	Revision uint64 `json:"-"`
}

const (
	// watchAgain is after how long a view is read again from the start, in case
	// something was missed that nothing showed.
	watchAgain = time.Minute
	// watchPatience is how long a key may take to come that the bucket has.
	watchPatience   = 2 * time.Second
	watchRetryFirst = 50 * time.Millisecond
	watchRetryMost  = 2 * time.Second
)

// View follows the bucket: the live workers, and who owns what. It is safe for
// concurrent use.
type View struct {
	js         jetstream.JetStream
	generation string
	log        *zap.Logger
	open       func(context.Context) (jetstream.KeyValue, error)
	seen       func(partition int, o *Owner, revision uint64) // may be nil

	mu      sync.Mutex
	now     roll
	changed chan struct{}
	ready   chan struct{}
	first   sync.Once
	lastErr error // why the bucket was not read at the last try; nil: it was

	again  chan struct{} // the bucket may be another one
	cancel context.CancelFunc
	done   chan struct{}
}

// roll is what the bucket says.
type roll struct {
	workers map[string]Worker
	owners  map[int]Owner
}

func newRoll() roll { return roll{workers: map[string]Worker{}, owners: map[int]Owner{}} }

// Watch follows the leases of a generation, which may be made later. The view
// lives until Close.
func Watch(js jetstream.JetStream, generation string, log *zap.Logger) *View {
	v := newView(js, generation, log)
	v.open = func(ctx context.Context) (jetstream.KeyValue, error) { return js.KeyValue(ctx, Bucket(generation)) }
	v.start()
	return v
}

// Workers reads once which workers live; none where no worker ever did.
func Workers(ctx context.Context, js jetstream.JetStream, generation string) ([]Worker, error) {
	_, err := js.KeyValue(ctx, Bucket(generation))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lease: which workers live: %w", err)
	}
	v := Watch(js, generation, nil)
	defer v.Close()
	select {
	case <-v.Ready():
		return v.Workers(), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("lease: which workers live: bucket %s was not read (%w); last error: %w", Bucket(generation), context.Cause(ctx), cmp.Or(v.err(), errSilent))
	}
}

func newView(js jetstream.JetStream, generation string, log *zap.Logger) *View {
	if log == nil {
		log = zap.NewNop()
	}
	return &View{
		js: js, generation: generation, log: log, now: newRoll(),
		changed: make(chan struct{}), ready: make(chan struct{}), again: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

func (v *View) start() {
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	go func() {
		defer close(v.done)
		v.follow(ctx)
	}()
}

// Close ends the view and waits for its end.
func (v *View) Close() {
	v.cancel()
	<-v.done
}

// Ready is closed when the view was complete for the first time.
func (v *View) Ready() <-chan struct{} { return v.ready }

// Changed is closed at the next change. Ask for it before looking.
func (v *View) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// Workers are the live workers, by id.
func (v *View) Workers() []Worker {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]Worker, 0, len(v.now.workers))
	for _, id := range slices.Sorted(maps.Keys(v.now.workers)) {
		out = append(out, v.now.workers[id])
	}
	return out
}

// Owners says who owns each partition that somebody owns.
func (v *View) Owners() map[int]Owner {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.now.owners)
}

// follow reads the bucket, from the start after every doubt.
func (v *View) follow(ctx context.Context) {
	pauses := backoff.Backoff{First: watchRetryFirst, Most: watchRetryMost}
	for ctx.Err() == nil {
		complete, err := v.pass(ctx)
		if complete {
			pauses.Reset()
		}
		v.mu.Lock()
		if v.lastErr = err; complete {
			v.lastErr = nil
		}
		v.mu.Unlock()
		if err == nil {
			continue
		}
		if !errors.Is(err, jetstream.ErrBucketNotFound) && ctx.Err() == nil {
			v.log.Debug("the leases are read again", zap.Error(err))
		}
		if pauses.Wait(ctx) != nil {
			return
		}
	}
}

// errSilent stands for the last error if there is none.
var errSilent = errors.New("lease: no answer")

var errInterrupted = errors.New("lease: the watch was interrupted")

// pass reads the bucket once from the start, and follows it until something casts
// doubt on what was seen, or it has gone on for long enough (nil).
func (v *View) pass(ctx context.Context) (complete bool, err error) {
	conn := v.js.Conn()
	lost := conn.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer conn.RemoveStatusListener(lost)
	kv, err := func() (jetstream.KeyValue, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		return v.open(ctx)
	}()
	if err != nil {
		return false, err
	}
	// The keys that there are now make the first picture complete. The watch has a word
	// of its own for that, which goes by a count that one message says.
	missing, err := v.keys(ctx)
	if err != nil {
		return false, err
	}
	watching, cancel := context.WithTimeout(ctx, watchAgain)
	defer cancel()
	slow := time.AfterFunc(requestTimeout, cancel) // the making of a watch has no bound of its own
	w, err := kv.WatchAll(watching)
	if err != nil {
		return false, err
	}
	defer kvwatch.End(w, requestTimeout)
	if !slow.Stop() {
		return false, errInterrupted
	}
	patience := time.NewTicker(watchPatience)
	defer patience.Stop()
	fresh := newRoll()
	show := func() {
		complete = true
		v.mu.Lock()
		v.now, v.lastErr = fresh, nil
		v.raise()
		v.mu.Unlock()
		v.first.Do(func() { close(v.ready) })
	}
	if len(missing) == 0 {
		show()
	}
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return complete, errInterrupted
			case e == nil: // what the client holds for the end of the first picture
			case complete:
				v.mu.Lock()
				v.now.apply(e, v.seen)
				v.raise()
				v.mu.Unlock()
			default:
				fresh.apply(e, v.seen)
				if delete(missing, e.Key()); len(missing) == 0 {
					show()
				}
			}
		case <-patience.C:
			if complete {
				continue
			}
			// A key whose time was up while it was on its way does not come.
			there, err := v.keys(ctx)
			if err != nil {
				return false, err
			}
			for key := range missing {
				if there[key] {
					return false, fmt.Errorf("%w: key %s did not come within %s", errInterrupted, key, watchPatience)
				}
			}
			show()
		case <-lost:
			return complete, errInterrupted
		case <-v.again:
			return complete, errInterrupted
		case <-watching.Done():
			return complete, ctx.Err()
		}
	}
}

// keys are the keys that the bucket has, those of deleted ones among them, by its
// leader's word.
func (v *View) keys(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	prefix := "$KV." + Bucket(v.generation) + "."
	stream, err := v.js.Stream(ctx, "KV_"+Bucket(v.generation))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = jetstream.ErrBucketNotFound
	}
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return nil, err
	}
	keys := make(map[string]bool, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		keys[subject[len(prefix):]] = true
	}
	return keys, nil
}

// err is why the bucket was not read at the last try, or nil.
func (v *View) err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lastErr
}

// readAgain has the bucket read again from the start.
func (v *View) readAgain() {
	select {
	case v.again <- struct{}{}:
	default:
	}
}

// raise wakes who waits for a change. v.mu is held.
func (v *View) raise() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// apply takes in what became of one key. What cannot be read is as good as gone.
func (r *roll) apply(e jetstream.KeyValueEntry, seen func(int, *Owner, uint64)) {
	there := e.Operation() == jetstream.KeyValuePut
	if p, ok := partitionOf(e.Key()); ok {
		var o *Owner
		if there {
			if o = new(Owner); json.Unmarshal(e.Value(), o) != nil {
				o = nil
			}
		}
		if o == nil {
			delete(r.owners, p)
		} else {
			o.Revision = e.Revision()
			r.owners[p] = *o
		}
		if seen != nil {
			seen(p, o, e.Revision())
		}
		return
	}
	if len(e.Key()) <= len(workerPrefix) || e.Key()[:len(workerPrefix)] != workerPrefix {
		return
	}
	id := e.Key()[len(workerPrefix):]
	var w Worker
	if !there || json.Unmarshal(e.Value(), &w) != nil {
		delete(r.workers, id)
		return
	}
	w.ID, w.Heard = id, e.Created()
	r.workers[id] = w
}
