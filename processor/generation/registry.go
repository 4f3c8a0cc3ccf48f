package generation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/projection"
)

// Bucket is the name of the bucket.
const Bucket = "HOLD_META"

const (
	recordPrefix   = "gen."
	activeKey      = "active"
	prepareKey     = "prepare"
	gatewayPrefix  = "door."
	progressPrefix = "build."
	lockPrefix     = "lock."
	counterKey     = "counter"
	markerTTL      = time.Minute
)

// Errors that callers decide on.
var (
	// ErrExists: a generation of that name exists.
	ErrExists = errors.New("generation: exists already")
	// ErrUnknown: no generation of that name exists, or none at all.
	ErrUnknown = errors.New("generation: not known")
	// ErrChanged: somebody else has changed it meanwhile. Read it again.
	ErrChanged = errors.New("generation: was changed meanwhile")
	// ErrRecord: a value of the bucket cannot be read. See RecordError.
	ErrRecord = errors.New("generation: a record cannot be read")
	// ErrName: the name cannot be that of a generation.
	ErrName = errors.New("generation: a name is 1 to 32 of a-z, A-Z, 0-9, '-' and '_'")
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// CheckName returns [ErrName] if a name cannot be that of a generation.
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

	mu   sync.Mutex
	good map[string][]byte // what could be read last, by key
}

// Open opens the bucket, and creates it if there is none.
func Open(ctx context.Context, js jetstream.JetStream, replicas int) (*Registry, error) {
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = projection.CreateBucket(ctx, js, jetstream.KeyValueConfig{
			Bucket:         Bucket,
			Description:    "Which generations of the projections there are, and which is read; kept by holdmetrics",
			Replicas:       max(replicas, 1),
			LimitMarkerTTL: markerTTL,
		})
	}
	if err == nil {
		// A replica that is behind would send a gateway back to the previous generation.
		kv, err = projection.ReadFromLeader(ctx, js, kv)
	}
	if err != nil {
		return nil, fmt.Errorf("generation: open bucket %s: %w", Bucket, err)
	}
	return &Registry{js: js, kv: kv}, nil
}

// Find opens the bucket, or returns [ErrUnknown] if no server or worker has created it
// yet.
func Find(ctx context.Context, js jetstream.JetStream) (*Registry, error) {
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("%w: there is no bucket %s", ErrUnknown, Bucket)
	}
	if err != nil {
		return nil, fmt.Errorf("generation: open bucket %s: %w", Bucket, err)
	}
	return &Registry{js: js, kv: kv}, nil
}

// Begin makes sure that there is an active generation. If there is none, it records the
// first one and makes it active. It returns what is active.
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

// NextName returns a number that no generation was ever named.
func (r *Registry) NextName(ctx context.Context) (string, error) {
	for {
		last, revision, err := get[uint64](ctx, r, counterKey)
		if err != nil && !errors.Is(err, ErrUnknown) {
			return "", err
		}
		all, err := r.List(ctx)
		if err != nil {
			return "", err
		}
		last = max(last, 1)
		for _, g := range all {
			if n, err := strconv.ParseUint(g.Name, 10, 32); err == nil {
				last = max(last, n)
			}
		}
		last++
		if revision == 0 {
			_, err = r.kv.Create(ctx, counterKey, strconv.AppendUint(nil, last, 10))
		} else {
			_, err = r.kv.Update(ctx, counterKey, strconv.AppendUint(nil, last, 10), revision)
		}
		switch {
		case err == nil:
			return strconv.FormatUint(last, 10), nil
		case !raced(err) && !errors.Is(err, jetstream.ErrKeyExists):
			return "", fmt.Errorf("generation: write %s: %w", counterKey, err)
		}
	}
}

// Create records a generation, or returns [ErrExists].
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

// Get reads a record, or returns [ErrUnknown].
func (r *Registry) Get(ctx context.Context, name string) (Record, error) {
	g, _, err := get[Record](ctx, r, recordPrefix+name)
	return g, err
}

// List returns all records, the oldest first.
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

// Change changes a record. If somebody else changes it meanwhile, it calls change again.
// An error of change ends it, and nothing is written.
func (r *Registry) Change(ctx context.Context, name string, change func(*Record) error) error {
	return alter(ctx, r, recordPrefix+name, change)
}

// Remove deletes a record. Deleting what is not there is no error.
func (r *Registry) Remove(ctx context.Context, name string) error {
	return r.remove(ctx, recordPrefix+name)
}

// remove deletes a key. Its marker is for watches, and expires.
func (r *Registry) remove(ctx context.Context, key string) error {
	if err := r.kv.Purge(ctx, key, jetstream.PurgeTTL(markerTTL)); err != nil {
		return fmt.Errorf("generation: remove %s: %w", key, err)
	}
	return nil
}

// Lock takes a generation for work that only one process may do. It reports false if
// another one has it. It is free again after ttl, or when unlock was called.
func (r *Registry) Lock(ctx context.Context, name string, ttl time.Duration) (unlock func(context.Context) error, locked bool, err error) {
	_, err = r.kv.Create(ctx, lockPrefix+name, []byte("taken"), jetstream.KeyTTL(ttl))
	switch {
	case errors.Is(err, jetstream.ErrKeyExists) || raced(err):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("generation: lock %q: %w", name, err)
	}
	return func(ctx context.Context) error { return r.remove(ctx, lockPrefix+name) }, true, nil
}

// Active returns which generation is read, or [ErrUnknown] before Begin.
func (r *Registry) Active(ctx context.Context) (Active, error) {
	a, _, err := get[Active](ctx, r, activeKey)
	return a, err
}

// Activate makes a generation the active one, or returns [ErrChanged] if from is not the
// active one any more. end is the last position of the log.
func (r *Registry) Activate(ctx context.Context, from, to string, end uint64, now time.Time) error {
	return alter(ctx, r, activeKey, func(a *Active) error {
		if a.Generation != from {
			return fmt.Errorf("%w: %q is active, not %q", ErrChanged, a.Generation, from)
		}
		*a = Active{Generation: to, Previous: from, Since: now, Number: a.Number + 1, At: end}
		return nil
	})
}

// Prepare names the generation that gateways are to load; "" ends that.
func (r *Registry) Prepare(ctx context.Context, name string) error {
	return r.put(ctx, prepareKey, Prepare{Generation: name})
}

// Prepared returns what Prepare, or [Registry.PrepareFor], named last.
func (r *Registry) Prepared(ctx context.Context) (Prepare, error) {
	p, _, err := get[Prepare](ctx, r, prepareKey)
	if errors.Is(err, ErrUnknown) {
		return Prepare{}, nil
	}
	return p, err
}

// Gateways returns the gateways whose reports have not expired.
func (r *Registry) Gateways(ctx context.Context) ([]GatewayState, error) {
	return list[GatewayState](ctx, r, gatewayPrefix+"*")
}

// PutGateway reports a gateway's state. The report expires after ttl.
func (r *Registry) PutGateway(ctx context.Context, d GatewayState, ttl time.Duration) error {
	return r.putFor(ctx, gatewayPrefix+d.ID, d, ttl)
}

// RemoveGateway removes a gateway's report.
func (r *Registry) RemoveGateway(ctx context.Context, id string) error {
	return r.remove(ctx, gatewayPrefix+id)
}

// Progress returns how far the workers are with a generation.
func (r *Registry) Progress(ctx context.Context, name string) ([]Progress, error) {
	return list[Progress](ctx, r, progressPrefix+name+".*")
}

// PutProgress reports how far a worker is with a generation. The report expires after ttl.
func (r *Registry) PutProgress(ctx context.Context, name string, p Progress, ttl time.Duration) error {
	return r.putFor(ctx, progressPrefix+name+"."+p.Worker, p, ttl)
}

// RemoveProgress removes a worker's report: it has closed the generation.
func (r *Registry) RemoveProgress(ctx context.Context, name, worker string) error {
	return r.remove(ctx, progressPrefix+name+"."+worker)
}

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

// putFor writes a key that expires after ttl, which jetstream.KeyValue does not offer.
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
	if errors.Is(err, nats.ErrNoResponders) {
		// The bucket was opened by Find before a server or worker had it read from the
		// leader. Its status says so, and the bucket goes by that from then on.
		if _, err = r.kv.Status(ctx); err == nil {
			e, err = r.kv.Get(ctx, key)
		}
	}
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return v, 0, fmt.Errorf("%w: %q", ErrUnknown, strings.TrimPrefix(key, recordPrefix))
	}
	if err != nil {
		return v, 0, fmt.Errorf("generation: read %s: %w", key, err)
	}
	if err := json.Unmarshal(e.Value(), &v); err != nil {
		return v, 0, &RecordError{Key: key, Cause: err}
	}
	if checked, ok := any(&v).(interface{ check(key string) error }); ok && !r.isKept(key, e.Value()) {
		if err := checked.check(key); err != nil {
			return v, 0, &RecordError{Key: key, Cause: err}
		}
	}
	r.keep(key, e.Value())
	return v, e.Revision(), nil
}

// alter reads, changes and writes a key, until nobody else writes it in between.
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
		switch {
		case err == nil:
			return nil
		case raced(err):
			continue
		}
		return fmt.Errorf("generation: write %s: %w", key, err)
	}
}

// raced reports whether an error means that somebody else wrote a key in between.
func raced(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// list reads all keys of a pattern, each from the leader as [get] does. A watch would give
// them all at once, but may be served by a replica that is behind.
func list[T any](ctx context.Context, r *Registry, pattern string) ([]T, error) {
	const prefix = "$KV." + Bucket + "."
	fail := func(err error) ([]T, error) { return nil, fmt.Errorf("generation: read %s: %w", pattern, err) }
	stream, err := r.js.Stream(ctx, "KV_"+Bucket)
	if err != nil {
		return fail(err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+pattern))
	if err != nil {
		return fail(err)
	}
	var all []T
	for _, subject := range slices.Sorted(maps.Keys(info.State.Subjects)) {
		v, _, err := get[T](ctx, r, strings.TrimPrefix(subject, prefix))
		switch {
		case errors.Is(err, ErrUnknown): // removed
		case err != nil:
			return nil, err
		default:
			all = append(all, v)
		}
	}
	return all, nil
}
