package generation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is the name of the bucket.
const Bucket = "HOLD_META"

const (
	recordPrefix   = "gen."
	activeKey      = "active"
	prepareKey     = "prepare"
	doorPrefix     = "door."
	progressPrefix = "build."
	markerTTL      = time.Minute
)

// Errors that callers decide on.
var (
	// ErrExists: there is a generation of that name.
	ErrExists = errors.New("generation: exists already")
	// ErrUnknown: there is none of that name.
	ErrUnknown = errors.New("generation: not known")
	// ErrChanged: somebody else changed it meanwhile. Look again.
	ErrChanged = errors.New("generation: was changed meanwhile")
	// ErrName: the name cannot be that of a generation.
	ErrName = errors.New("generation: a name is 1 to 32 of a-z, A-Z, 0-9, '-' and '_'")
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// CheckName says whether a name can be that of a generation; else the error is [ErrName].
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%w: not %q", ErrName, name)
	}
	return nil
}

// Registry reads and writes the bucket. It is safe for concurrent use.
type Registry struct {
	js jetstream.JetStream
	kv jetstream.KeyValue
}

// Open opens the bucket, and makes it where there is none.
func Open(ctx context.Context, js jetstream.JetStream, replicas int) (*Registry, error) {
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:         Bucket,
			Description:    "Which generations of the projections there are, and which is read; kept by holdmetrics",
			History:        1,
			Storage:        jetstream.FileStorage,
			Replicas:       max(replicas, 1),
			LimitMarkerTTL: markerTTL,
		})
		if errors.Is(err, jetstream.ErrBucketExists) {
			kv, err = js.KeyValue(ctx, Bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("generation: open bucket %s: %w", Bucket, err)
	}
	return &Registry{js: js, kv: kv}, nil
}

// Begin makes sure that there is an active generation: the first one, with the
// given record, where there is none yet. It returns what is active.
func (r *Registry) Begin(ctx context.Context, first Record) (Active, error) {
	active, err := r.Active(ctx)
	if err == nil || !errors.Is(err, ErrUnknown) {
		return active, err
	}
	first.Name = First
	if err := r.Create(ctx, first); err != nil && !errors.Is(err, ErrExists) {
		return Active{}, err
	}
	value, err := json.Marshal(Active{Generation: First, Since: first.Created})
	if err != nil {
		return Active{}, err
	}
	if _, err := r.kv.Create(ctx, activeKey, value); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return Active{}, fmt.Errorf("generation: name the first generation: %w", err)
	}
	return r.Active(ctx)
}

// Create adds a generation; [ErrExists] where there is one of that name.
func (r *Registry) Create(ctx context.Context, g Record) error {
	if err := CheckName(g.Name); err != nil {
		return err
	}
	value, err := json.Marshal(g)
	if err != nil {
		return err
	}
	_, err = r.kv.Create(ctx, recordPrefix+g.Name, value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("%w: %q", ErrExists, g.Name)
	}
	if err != nil {
		return fmt.Errorf("generation: write %q: %w", g.Name, err)
	}
	return nil
}

// Get reads a generation; [ErrUnknown] where there is none of that name.
func (r *Registry) Get(ctx context.Context, name string) (Record, error) {
	g, _, err := get[Record](ctx, r, recordPrefix+name)
	return g, err
}

// List gives all generations, the oldest first.
func (r *Registry) List(ctx context.Context) ([]Record, error) {
	all, err := list[Record](ctx, r, recordPrefix+">")
	slices.SortFunc(all, func(a, b Record) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all, err
}

// Change changes a generation's record. It is tried again where somebody else
// changed it meanwhile. change may be called more than once, and may refuse with an error.
func (r *Registry) Change(ctx context.Context, name string, change func(*Record) error) error {
	return alter(ctx, r, recordPrefix+name, change)
}

// Remove takes a generation out. There is none of that name where it returns without error.
func (r *Registry) Remove(ctx context.Context, name string) error {
	if err := r.kv.Purge(ctx, recordPrefix+name); err != nil {
		return fmt.Errorf("generation: remove %q: %w", name, err)
	}
	return nil
}

// Active says which generation is read; [ErrUnknown] where nothing was begun yet.
func (r *Registry) Active(ctx context.Context) (Active, error) {
	a, _, err := get[Active](ctx, r, activeKey)
	return a, err
}

// Activate makes a generation the active one, where from is it still; else [ErrChanged].
func (r *Registry) Activate(ctx context.Context, from, to string, now time.Time) error {
	return alter(ctx, r, activeKey, func(a *Active) error {
		if a.Generation != from {
			return fmt.Errorf("%w: %q is active, not %q", ErrChanged, a.Generation, from)
		}
		*a = Active{Generation: to, Previous: from, Since: now, Number: a.Number + 1}
		return nil
	})
}

// Prepare names the generation that doors are to load; "" ends that.
func (r *Registry) Prepare(ctx context.Context, name string) error {
	return r.put(ctx, prepareKey, Prepare{Generation: name})
}

// Prepared is what Prepare named last.
func (r *Registry) Prepared(ctx context.Context) (Prepare, error) {
	p, _, err := get[Prepare](ctx, r, prepareKey)
	if errors.Is(err, ErrUnknown) {
		return Prepare{}, nil
	}
	return p, err
}

// Doors are the gateways that have said of themselves lately.
func (r *Registry) Doors(ctx context.Context) ([]Door, error) {
	return list[Door](ctx, r, doorPrefix+"*")
}

// PutDoor says how a gateway does. It holds for ttl.
func (r *Registry) PutDoor(ctx context.Context, d Door, ttl time.Duration) error {
	return r.putFor(ctx, doorPrefix+d.ID, d, ttl)
}

// RemoveDoor says that a gateway is gone.
func (r *Registry) RemoveDoor(ctx context.Context, id string) error {
	return r.kv.Purge(ctx, doorPrefix+id)
}

// Progress is how far the workers are with a generation.
func (r *Registry) Progress(ctx context.Context, name string) ([]Progress, error) {
	return list[Progress](ctx, r, progressPrefix+name+".*")
}

// PutProgress says how far a worker is with a generation. It holds for ttl.
func (r *Registry) PutProgress(ctx context.Context, name string, p Progress, ttl time.Duration) error {
	return r.putFor(ctx, progressPrefix+name+"."+p.Worker, p, ttl)
}

// Watch sends something whenever a record, `active` or `prepare` may have changed,
// and once at the start, until ctx ends. Several changes may be told at once.
// The watch is made again where the broker was away.
func (r *Registry) Watch(ctx context.Context) <-chan struct{} {
	return r.watch(ctx, recordPrefix+">", activeKey, prepareKey)
}

// WatchAll is Watch of everything, doors and progress too.
func (r *Registry) WatchAll(ctx context.Context) <-chan struct{} { return r.watch(ctx, ">") }

func (r *Registry) put(ctx context.Context, key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := r.kv.Put(ctx, key, value); err != nil {
		return fmt.Errorf("generation: write %s: %w", key, err)
	}
	return nil
}

// putFor is put of a key that lives for ttl, which jetstream.KeyValue does not offer.
func (r *Registry) putFor(ctx context.Context, key string, v any, ttl time.Duration) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: "$KV." + Bucket + "." + key, Header: nats.Header{}, Data: value}
	if _, err := r.js.PublishMsg(ctx, msg, jetstream.WithMsgTTL(ttl)); err != nil {
		return fmt.Errorf("generation: write %s: %w", key, err)
	}
	return nil
}

func get[T any](ctx context.Context, r *Registry, key string) (v T, revision uint64, err error) {
	e, err := r.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return v, 0, fmt.Errorf("%w: %q", ErrUnknown, strings.TrimPrefix(key, recordPrefix))
	}
	if err != nil {
		return v, 0, fmt.Errorf("generation: read %s: %w", key, err)
	}
	if err := json.Unmarshal(e.Value(), &v); err != nil {
		return v, 0, fmt.Errorf("generation: %s of bucket %s is not what this version writes: %w", key, Bucket, err)
	}
	return v, e.Revision(), nil
}

// alter reads, changes and writes a key that is there, until nobody comes between.
func alter[T any](ctx context.Context, r *Registry, key string, change func(*T) error) error {
	for {
		v, revision, err := get[T](ctx, r, key)
		if err != nil {
			return err
		}
		if err := change(&v); err != nil {
			return err
		}
		value, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = r.kv.Update(ctx, key, value, revision)
		var api *jetstream.APIError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
			continue
		}
		return fmt.Errorf("generation: write %s: %w", key, err)
	}
}

// list reads all keys of a pattern.
func list[T any](ctx context.Context, r *Registry, pattern string) ([]T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := r.kv.Watch(ctx, pattern, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("generation: read %s: %w", pattern, err)
	}
	defer w.Stop()
	var all []T
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return nil, fmt.Errorf("generation: read %s: the watch ended", pattern)
			}
			if e == nil {
				return all, nil
			}
			var v T
			if err := json.Unmarshal(e.Value(), &v); err != nil {
				return nil, fmt.Errorf("generation: %s of bucket %s is not what this version writes: %w", e.Key(), Bucket, err)
			}
			all = append(all, v)
		}
	}
}

// watchAgain is after how long a watch is made again, in case something was missed
// that nothing showed, and pauseAgain the pause where that failed.
const (
	watchAgain = 30 * time.Second
	pauseAgain = 250 * time.Millisecond
)

func (r *Registry) watch(ctx context.Context, patterns ...string) <-chan struct{} {
	told := make(chan struct{}, 1)
	tell := func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}
	go func() {
		for ctx.Err() == nil {
			tell()
			pause := r.follow(ctx, patterns, tell)
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	}()
	return told
}

// follow tells of changes until it is time to begin anew, after a pause.
func (r *Registry) follow(ctx context.Context, patterns []string, tell func()) (pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, watchAgain)
	defer cancel()
	w, err := r.kv.WatchFiltered(ctx, patterns, jetstream.UpdatesOnly())
	if err != nil {
		return pauseAgain
	}
	defer w.Stop()
	tell() // what came before the watch stood
	for {
		select {
		case <-ctx.Done():
			return 0
		case _, ok := <-w.Updates():
			if !ok {
				return pauseAgain
			}
			tell()
		}
	}
}
