package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/projection"
)

// Bucket is the name of the bucket.
const Bucket = "HOLD_KEYS"

const (
	recordPrefix = "key."  // the record of a key
	usedPrefix   = "used." // when it was used last
	// maxValueBytes bounds a record: [auth.MaxNames] ids of the greatest length, twice.
	maxValueBytes = 2 << 20
)

// Store reads and writes the keys for operators. It is safe for concurrent use.
type Store struct {
	js jetstream.JetStream
	kv jetstream.KeyValue
}

// Open opens the bucket, and creates it if there is none.
func Open(ctx context.Context, js jetstream.JetStream, replicas int) (*Store, error) {
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = projection.CreateBucket(ctx, js, jetstream.KeyValueConfig{
			Bucket:       Bucket,
			Description:  "The API keys, without their secrets; kept by holdmetrics",
			Replicas:     max(replicas, 1),
			MaxValueSize: maxValueBytes,
		})
	}
	return opened(ctx, js, kv, err)
}

// Find opens the bucket, or returns [ErrUnknown] if there is none.
func Find(ctx context.Context, js jetstream.JetStream) (*Store, error) {
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("%w: there is no bucket %s: start the server with --auth on", ErrUnknown, Bucket)
	}
	return opened(ctx, js, kv, err)
}

func opened(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue, err error) (*Store, error) {
	if err == nil {
		// A replica that is behind would show a key that was revoked.
		kv, err = projection.ReadFromLeader(ctx, js, kv)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: open bucket %s: %w", Bucket, err)
	}
	return &Store{js: js, kv: kv}, nil
}

// Create adds a key. Its error matches [ErrExists] if a key of that name is in use.
func (s *Store) Create(ctx context.Context, r Record) error {
	all, err := s.List(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if e := &all[i]; e.Err == nil && e.Name == r.Name && e.Revoked == nil {
			return fmt.Errorf("%w: %q is the name of key %s: take another name, or revoke that one", ErrExists, r.Name, e.ID)
		}
	}
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := s.kv.Create(ctx, recordPrefix+r.ID, value); err != nil {
		return fmt.Errorf("keys: create key %s: %w", r.ID, err)
	}
	return nil
}

// Entry is a key of the bucket. If its record cannot be used, Err says why, and the ID alone
// is known.
type Entry struct {
	Record
	Used     time.Time // last; zero: never, or not known
	Err      error     // matches [ErrRecord]
	revision uint64
}

// State is what became of a key by a time: active, expired, revoked or damaged.
func (e *Entry) State(now time.Time) string {
	switch {
	case e.Err != nil:
		return "damaged"
	case e.Revoked != nil:
		return "revoked"
	case e.Expires != nil && !now.Before(*e.Expires):
		return "expired"
	}
	return "active"
}

// List returns the keys, the oldest first.
func (s *Store) List(ctx context.Context) (entries []Entry, err error) {
	lister, err := s.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("keys: list: %w", err)
	}
	used := map[string]time.Time{}
	for key := range lister.Keys() {
		id, record := strings.CutPrefix(key, recordPrefix)
		usedID, isUse := strings.CutPrefix(key, usedPrefix)
		if !record && !isUse {
			continue
		}
		value, err := s.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("keys: read %s: %w", key, err)
		}
		if isUse {
			var u use
			if json.Unmarshal(value.Value(), &u) == nil {
				used[usedID] = u.At
			}
			continue
		}
		e := Entry{revision: value.Revision()}
		if r, err := decode(id, value.Value()); err != nil {
			e.Record, e.Err = Record{ID: id}, err
		} else {
			e.Record = *r
		}
		entries = append(entries, e)
	}
	for i := range entries {
		entries[i].Used = used[entries[i].ID]
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return entries, nil
}

// Revoke revokes a key by its id, or by the name of one that is in use, for ever: its hash
// is removed. It returns what the key was. Revoking it again changes nothing.
func (s *Store) Revoke(ctx context.Context, named string, now time.Time) (Record, error) {
	all, err := s.List(ctx)
	if err != nil {
		return Record{}, err
	}
	at := slices.IndexFunc(all, func(e Entry) bool { return e.ID == named })
	if at < 0 {
		at = slices.IndexFunc(all, func(e Entry) bool { return e.Err == nil && e.Name == named && e.Revoked == nil })
	}
	if at < 0 {
		return Record{}, fmt.Errorf("%w: %q is neither the id of a key nor the name of one that is in use: 'holdmetrics keys list' shows them", ErrUnknown, named)
	}
	e := all[at]
	if e.Err != nil { // nothing of it is worth keeping
		if err := s.kv.Delete(ctx, recordPrefix+e.ID, jetstream.LastRevision(e.revision)); err != nil {
			return Record{}, fmt.Errorf("keys: remove the damaged record of key %s: %w", e.ID, err)
		}
		return e.Record, nil
	}
	if e.Revoked != nil {
		return e.Record, nil
	}
	revoked := now.UTC()
	e.Revoked, e.Salt, e.Hash = &revoked, nil, nil
	value, err := json.Marshal(e.Record)
	if err != nil {
		return Record{}, err
	}
	if _, err := s.kv.Update(ctx, recordPrefix+e.ID, value, e.revision); err != nil {
		return Record{}, fmt.Errorf("keys: revoke key %s: %w", e.ID, err)
	}
	return e.Record, nil
}
