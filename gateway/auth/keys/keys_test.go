package keys

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/gateway/auth"
	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

// made makes a key that is not in a bucket.
func made(t testing.TB, s Spec) (string, Record) {
	t.Helper()
	if s.Name == "" {
		s.Name = "test"
	}
	if s.Scopes == 0 {
		s.Scopes = auth.Read
	}
	key, r, err := Make(rand.Reader, s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return key, r
}

func TestMake(t *testing.T) {
	t.Parallel()
	now := time.Now()
	key, r := made(t, Spec{Tokens: []string{"game-*"}, Expires: now.Add(time.Hour)})
	id, secret, ok := cut(key)
	if !ok || id != r.ID || len(secret)*5 < 160 {
		t.Errorf("key %q", key)
	}
	text, err := json.Marshal(r)
	if err != nil || strings.Contains(string(text), secret) {
		t.Errorf("the record has the secret: %s, %v", text, err)
	}
	back, err := decode(r.ID, text)
	if err != nil {
		t.Fatal(err)
	}
	p := back.principal()
	if p.String() != "key:test ("+r.ID+")" || p.Scopes != auth.Read || p.Holders != nil || p.Tokens == nil || p.Expires == 0 {
		t.Errorf("%+v", p)
	}
	for name, s := range map[string]Spec{
		"no name":        {Scopes: auth.Read},
		"long name":      {Name: strings.Repeat("x", 101), Scopes: auth.Read},
		"control":        {Name: "a\nb", Scopes: auth.Read},
		"no scope":       {Name: "a"},
		"expired":        {Name: "a", Scopes: auth.Read, Expires: now.Add(-time.Second)},
		"narrowed admin": {Name: "a", Scopes: auth.Admin, Tokens: []string{"x"}},
		"bad pattern":    {Name: "a", Scopes: auth.Read, Holders: []string{`x\`}},
		"bad quota":      {Name: "a", Scopes: auth.Read, Quotas: auth.Quotas{Events: -1}},
	} {
		if _, _, err := Make(rand.Reader, s, now); !errors.Is(err, ErrSpec) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if other, _ := made(t, Spec{}); other == key {
		t.Error("two keys are equal")
	}
}

// A record that this program does not understand is refused whole: what it does not know may
// narrow the key.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	_, r := made(t, Spec{})
	good, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "no JSON": "x", "null": "null", "a list": "[]", "two": string(good) + string(good),
		"another version": strings.Replace(string(good), `"v":1`, `"v":2`, 1),
		"unknown field":   strings.Replace(string(good), `"v":1`, `"v":1,"regions":["eu"]`, 1),
		"unknown scope":   strings.Replace(string(good), `"read"`, `"all"`, 1),
		"another id":      strings.Replace(string(good), r.ID, strings.Repeat("a", 16), 1),
		"no hash":         strings.Replace(string(good), `"hash"`, `"by"`, 1),
	} {
		if _, err := decode(r.ID, []byte(text)); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	none, err := decode(r.ID, []byte(strings.Replace(string(good), `"v":1`, `"v":1,"tokens":[]`, 1)))
	if err != nil || none.principal().Tokens == nil {
		t.Errorf("an empty list is not none: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	_, r := made(f, Spec{Tokens: []string{"a"}})
	good, _ := json.Marshal(r)
	f.Add(r.ID, good)
	f.Add("", []byte("{}"))
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		r, err := decode(id, value)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Errorf("%v", err)
			}
			return
		}
		r.principal()
	})
}

// world is a bucket with a store, and a set that watches it by way of a broker with faults.
type world struct {
	js     jetstream.JetStream
	store  *Store
	set    *Set
	broker *faultynats.Broker
	now    atomic.Int64 // added to the clock of the set
}

func newWorld(t *testing.T, stale time.Duration) *world {
	t.Helper()
	server := natstest.Start(t)
	w := &world{js: natstest.JetStream(t, server)}
	testwait.Poll(t, "the bucket opens", func() (err error) {
		w.store, err = Open(t.Context(), w.js, 1)
		return err
	})
	w.broker = natstest.Before(t, server, faultynats.Faults{})
	w.set = NewSet(SetConfig{
		JS: natstest.JetStream(t, w.broker), Logger: zap.NewNop(), Check: 20 * time.Millisecond, StaleAfter: stale, UsesEvery: 50 * time.Millisecond,
		Now: func() int64 { return time.Now().UnixNano() + w.now.Load() },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.set.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	if err := w.set.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// create adds a key and waits until it is in force.
func (w *world) create(t *testing.T, s Spec) (string, Record) {
	t.Helper()
	key, r := made(t, s)
	if err := w.store.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	testwait.Poll(t, "the key is in force", func() error {
		_, err := w.set.Principal(key)
		return err
	})
	return key, r
}

func reasonOf(err error) auth.Reason {
	if refused := (*auth.RefusedError)(nil); errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

func TestKeysComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	key, r := w.create(t, Spec{Name: "shop"})
	p, err := w.set.Principal(key)
	if err != nil || p.Name != "shop" {
		t.Fatal(p, err)
	}
	texts := map[string]bool{}
	for name, wrong := range map[string]string{
		"secret":      key[:len(key)-1] + "x",
		"id":          "hm_" + strings.Repeat("a", 16) + key[3+16:],
		"short":       key[:len(key)-1],
		"no secret":   "hm_" + r.ID + "_",
		"id alone":    "hm_" + r.ID,
		"hash":        "hm_" + r.ID + "_" + encode(r.Hash),
		"upper case":  strings.ToUpper(key),
		"a space":     key + " ",
		"prefix only": "hm_",
	} {
		_, err := w.set.Principal(wrong)
		if reasonOf(err) != auth.Invalid {
			t.Errorf("%s: %v", name, err)
		} else {
			texts[err.Error()] = true
		}
	}
	if len(texts) != 1 {
		t.Errorf("callers can see what is wrong: %v", texts)
	}
	_, same := made(t, Spec{Name: "shop"})
	if err := w.store.Create(t.Context(), same); !errors.Is(err, ErrExists) {
		t.Errorf("two keys of one name: %v", err)
	}
	testwait.Poll(t, "the last use is written", func() error {
		all, err := w.store.List(t.Context())
		if err != nil || len(all) != 1 || all[0].Used.IsZero() || all[0].State(time.Now()) != "active" {
			return fmt.Errorf("%+v, %v", all, err)
		}
		return nil
	})
	if p.Session.Err() != nil {
		t.Errorf("a use ends the session: %v", p.Session.Err())
	}
	if _, err := w.store.Revoke(t.Context(), "shop", time.Now()); err != nil {
		t.Fatal(err)
	}
	testwait.Poll(t, "the key is refused", func() error {
		if _, err := w.set.Principal(key); reasonOf(err) != auth.Invalid {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	if !errors.Is(p.Session.Err(), auth.ErrUnauthenticated) {
		t.Errorf("the session goes on: %v", p.Session.Err())
	}
	again, err := w.store.Revoke(t.Context(), r.ID, time.Now())
	if err != nil || again.Revoked == nil || len(again.Hash) > 0 {
		t.Errorf("revoked again: %+v, %v", again, err)
	}
	if _, err := w.store.Revoke(t.Context(), "nobody", time.Now()); !errors.Is(err, ErrUnknown) {
		t.Errorf("nobody: %v", err)
	}
	w.create(t, Spec{Name: "shop"}) // the name is free
}

// Garbage in the bucket refuses its own key, and spoils nothing else.
func TestGarbageInTheBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	good, _ := w.create(t, Spec{Name: "good"})
	spoilt, r := w.create(t, Spec{Name: "spoilt"})
	for key, value := range map[string]string{
		"$KV.HOLD_KEYS.key." + r.ID: "garbage", "$KV.HOLD_KEYS.key.x": "{}", "$KV.HOLD_KEYS.other": "\xff", "$KV.HOLD_KEYS.used." + r.ID: "[",
	} {
		if _, err := w.js.Publish(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	testwait.Poll(t, "the spoilt key is refused", func() error {
		if _, err := w.set.Principal(spoilt); reasonOf(err) != auth.Invalid {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	if _, err := w.set.Principal(good); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	all, err := w.store.List(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	damaged := 0
	for i := range all {
		if all[i].State(time.Now()) == "damaged" {
			damaged++
			if _, err := w.store.Revoke(t.Context(), all[i].ID, time.Now()); err != nil {
				t.Errorf("removing a damaged record: %v", err)
			}
		}
	}
	if all, err = w.store.List(t.Context()); damaged != 2 || err != nil || len(all) != 1 {
		t.Errorf("%d damaged; left: %+v, %v", damaged, all, err)
	}
}

// A watch that falls silent is noticed, and the bucket is read again.
func TestASilentWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	key, _ := w.create(t, Spec{Name: "shop"})
	if _, err := w.js.Publish(t.Context(), "$KV.HOLD_KEYS.ready", nil); err != nil {
		t.Fatal(err)
	}
	// What the broker has delivered so far is all that this watch is ever told.
	w.broker.Cut()
	if _, err := w.store.Revoke(t.Context(), "shop", time.Now()); err != nil {
		t.Fatal(err)
	}
	testwait.Poll(t, "the key is refused", func() error {
		if _, err := w.set.Principal(key); reasonOf(err) != auth.Invalid {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
}

// A bucket whose keys were removed behind the watch's back, without a message, is noticed.
func TestAPurgedBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	key, _ := w.create(t, Spec{Name: "shop"})
	stream, err := w.js.Stream(t.Context(), "KV_"+Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	testwait.Poll(t, "the key is refused", func() error {
		if _, err := w.set.Principal(key); reasonOf(err) != auth.Invalid {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
}

// While NATS does not answer, keys are believed for a while, and then refused; streams end.
func TestStaleKeysAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute)
	key, _ := w.create(t, Spec{Name: "shop"})
	p, err := w.set.Principal(key)
	if err != nil {
		t.Fatal(err)
	}
	w.broker.Stall()
	w.now.Store(int64(50 * time.Second))
	if _, err := w.set.Principal(key); err != nil {
		t.Errorf("after a while: %v", err)
	}
	w.now.Store(int64(2 * time.Minute))
	if _, err := w.set.Principal(key); reasonOf(err) != auth.Unchecked {
		t.Errorf("after too long: %v", err)
	}
	testwait.Poll(t, "the session ends", func() error {
		if !errors.Is(p.Session.Err(), auth.ErrUnavailable) {
			return fmt.Errorf("%v", p.Session.Err())
		}
		return nil
	})
	w.broker.Resume()
	testwait.Poll(t, "the key is good again", func() error {
		again, err := w.set.Principal(key)
		if err == nil && again.Session.Err() != nil {
			err = again.Session.Err()
		}
		return err
	})
}

func BenchmarkPrincipal(b *testing.B) {
	key, r := made(b, Spec{})
	e := &entry{record: &r, principal: r.principal()}
	s := NewSet(SetConfig{Now: func() int64 { return time.Now().UnixNano() }, Logger: zap.NewNop()})
	s.keys.Store(&map[string]*entry{r.ID: e})
	s.fresh.Store(time.Now().Add(time.Hour).UnixNano())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Principal(key); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
