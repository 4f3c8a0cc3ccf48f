package generation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// RecordError names a value of the bucket that cannot be read: somebody else has written
// it, or another version. It matches [ErrRecord].
type RecordError struct {
	Key   string
	Cause error
}

// Error gives the key, and what to do.
func (e *RecordError) Error() string {
	return fmt.Sprintf("%v: %s of bucket %s: %v (hint: 'holdmetrics generations repair' puts it right, while the broker runs)", ErrRecord, e.Key, Bucket, e.Cause)
}

// Is makes the error match ErrRecord.
func (e *RecordError) Is(target error) bool { return target == ErrRecord }

// Unwrap gives the cause.
func (e *RecordError) Unwrap() error { return e.Cause }

// check returns an error if no generation can be the active one.
func (a *Active) check(string) error { return CheckName(a.Generation) }

// check returns an error if it is not the record of the key.
func (g *Record) check(key string) error {
	if recordPrefix+g.Name != key {
		return fmt.Errorf("it is of generation %q", g.Name)
	}
	return nil
}

// keep keeps a value that could be read, if Mend would need it.
func (r *Registry) keep(key string, value []byte) {
	if !isLasting(key) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.good == nil {
		r.good = map[string][]byte{}
	}
	r.good[key] = slices.Clone(value)
}

// isKept reports whether a value was read before, and could be.
func (r *Registry) isKept(key string, value []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	good, kept := r.good[key]
	return kept && bytes.Equal(good, value)
}

// isLasting reports whether a key is no report, which expires and comes again.
func isLasting(key string) bool {
	return key == activeKey || key == prepareKey || strings.HasPrefix(key, recordPrefix)
}

// Check returns a [*RecordError] if a record, the active generation or the prepared one
// cannot be read.
func (r *Registry) Check(ctx context.Context) error {
	_, err := r.List(ctx)
	if _, activeErr := r.Active(ctx); err == nil && !errors.Is(activeErr, ErrUnknown) {
		err = activeErr
	}
	if err == nil {
		_, err = r.Prepared(ctx)
	}
	return err
}

// Mend puts right what cannot be read, and returns the keys: a value becomes what this
// registry has read last. Without that, a preparation ends, and the active generation is
// the only one that is built, if there is one. Anything else is an operator's to decide:
// see Reactivate and RemoveDamaged.
func (r *Registry) Mend(ctx context.Context) (mended []string, err error) {
	for range 100 { // as many records as there may be
		err := r.Check(ctx)
		var bad *RecordError
		if !errors.As(err, &bad) {
			return mended, err
		}
		r.mu.Lock()
		value := r.good[bad.Key]
		r.mu.Unlock()
		if value == nil {
			if value, err = r.guess(ctx, bad); err != nil {
				return mended, err
			}
		}
		if _, err := r.kv.Put(ctx, bad.Key, value); err != nil {
			return mended, fmt.Errorf("generation: write %s: %w", bad.Key, err)
		}
		mended = append(mended, bad.Key)
	}
	return mended, nil
}

// guess returns what a value must have been.
func (r *Registry) guess(ctx context.Context, bad *RecordError) ([]byte, error) {
	switch bad.Key {
	case prepareKey:
		return json.Marshal(Prepare{})
	case activeKey:
		all, err := r.List(ctx)
		if err != nil {
			return nil, err
		}
		built := slices.DeleteFunc(all, func(g Record) bool { return !g.Built || g.Dropped })
		if len(built) == 1 {
			return json.Marshal(Active{Generation: built[0].Name, Since: built[0].Created})
		}
		names := map[string]bool{}
		for _, g := range built {
			names[g.Name] = true
		}
		return nil, fmt.Errorf("%w; any of the generations %s may be it: name it with --active", bad, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
	}
	return nil, fmt.Errorf("%w; if generation %s is not the one that is read, remove its record with --remove %[2]s, and build it again; else restore a backup", bad, strings.TrimPrefix(bad.Key, recordPrefix))
}

// Reactivate makes a generation the active one whatever is written there: it is for a
// value that cannot be read.
func (r *Registry) Reactivate(ctx context.Context, name string) error {
	g, err := r.Get(ctx, name)
	if err != nil {
		return err
	}
	if _, err := r.Active(ctx); !errors.Is(err, ErrRecord) {
		if err == nil {
			err = errors.New("the active generation can be read: use 'holdmetrics activate'")
		}
		return err
	}
	value, err := json.Marshal(Active{Generation: g.Name, Since: g.Created})
	if err != nil {
		return err
	}
	if _, err := r.kv.Put(ctx, activeKey, value); err != nil {
		return fmt.Errorf("generation: write %s: %w", activeKey, err)
	}
	return nil
}

// RemoveDamaged deletes a record that cannot be read.
func (r *Registry) RemoveDamaged(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if _, err := r.Get(ctx, name); !errors.Is(err, ErrRecord) {
		if err == nil {
			err = fmt.Errorf("the record of generation %s can be read: use 'holdmetrics drop'", name)
		}
		return err
	}
	if active, err := r.Active(ctx); err != nil || active.Generation == name {
		return errors.Join(err, fmt.Errorf("generation %s is the one that is read: restore a backup", name))
	}
	if err := r.kv.Purge(ctx, recordPrefix+name, jetstream.PurgeTTL(markerTTL)); err != nil {
		return fmt.Errorf("generation: remove the record of %s: %w", name, err)
	}
	return nil
}
