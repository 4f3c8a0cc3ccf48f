package generation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func opened(t *testing.T) *Registry {
	t.Helper()
	r, err := Open(t.Context(), connect(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBegin(t *testing.T) {
	t.Parallel()
	js := connect(t)
	if _, err := Find(t.Context(), js); !errors.Is(err, ErrUnknown) {
		t.Errorf("before the first start: %v", err)
	}
	r, err := Open(t.Context(), js, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Active(t.Context()); !errors.Is(err, ErrUnknown) {
		t.Errorf("before the first: %v", err)
	}
	// Several at once: one of them makes it, all see the same.
	var starts sync.WaitGroup
	for i := range 5 {
		starts.Go(func() {
			active, err := r.Begin(context.Background(), Record{Policy: fmt.Sprint(i), Created: time.Unix(int64(i), 0)})
			if err != nil || active.Generation != First || active.Previous != "" {
				t.Errorf("%+v, %v", active, err)
			}
		})
	}
	starts.Wait()
	all, err := r.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != First {
		t.Fatalf("%+v, %v", all, err)
	}
	if _, err := Find(t.Context(), js); err != nil {
		t.Error(err)
	}
}

// The bucket is read from its leader, also one that another version has made.
func TestReadFromTheLeader(t *testing.T) {
	t.Parallel()
	js := connect(t)
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: Bucket, LimitMarkerTTL: markerTTL}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Open(t.Context(), js, 1); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := js.Stream(t.Context(), "KV_"+Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if c := stream.CachedInfo().Config; c.AllowDirect || c.SubjectDeleteMarkerTTL != markerTTL {
		t.Errorf("%+v", c)
	}
}

// A registry that was found before a server had the bucket read from the leader goes on
// after that.
func TestFoundBeforeItIsReadFromTheLeader(t *testing.T) {
	t.Parallel()
	js := connect(t)
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: Bucket, LimitMarkerTTL: markerTTL}); err != nil {
		t.Fatal(err)
	}
	r, err := Find(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Active(t.Context()); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	r := opened(t)
	for _, name := range []string{"", "a b", "x.y", "é", "a234567890123456789012345678901234"} {
		if err := r.Create(t.Context(), Record{Name: name}); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for i, name := range []string{"b", "a", "7"} {
		if err := r.Create(t.Context(), Record{Name: name, Created: time.Unix(int64(i), 0)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Create(t.Context(), Record{Name: "a"}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 3 || all[0].Name != "b" || all[2].Name != "7" {
		t.Errorf("%+v, %v", all, err)
	}
	// Changes that meet are made one after the other.
	var changes sync.WaitGroup
	for range 8 {
		changes.Go(func() {
			if err := r.Change(context.Background(), "a", func(g *Record) error { g.MaxRate++; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	changes.Wait()
	refused := errors.New("refused")
	if err := r.Change(t.Context(), "a", func(*Record) error { return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	if g, err := r.Get(t.Context(), "a"); err != nil || g.MaxRate != 8 {
		t.Errorf("%+v, %v", g, err)
	}
	// Numbers are given once, also where their generation is gone.
	for _, want := range []string{"8", "9"} {
		if name, err := r.NextName(t.Context()); err != nil || name != want {
			t.Errorf("%q, want %q, %v", name, want, err)
		}
	}
	for range 2 {
		if err := r.Remove(t.Context(), "7"); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Get(t.Context(), "7"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if name, err := r.NextName(t.Context()); err != nil || name != "10" {
		t.Errorf("%q, %v", name, err)
	}
}

func TestActivate(t *testing.T) {
	t.Parallel()
	r := opened(t)
	if _, err := r.Begin(t.Context(), Record{}); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Prepared(t.Context()); err != nil || p.Generation != "" {
		t.Errorf("%+v, %v", p, err)
	}
	if err := r.Prepare(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Prepared(t.Context()); err != nil || p.Generation != "2" {
		t.Errorf("%+v, %v", p, err)
	}
	now := time.Unix(100, 0).UTC()
	if err := r.Activate(t.Context(), First, "2", 77, now); err != nil {
		t.Fatal(err)
	}
	if err := r.Activate(t.Context(), First, "3", 78, now); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	if a, err := r.Active(t.Context()); err != nil || a != (Active{Generation: "2", Previous: First, Since: now, Number: 1, At: 77}) {
		t.Errorf("%+v, %v", a, err)
	}
}

// What a process says of itself runs out with it, and can be taken back.
func TestWhatRunsOut(t *testing.T) {
	t.Parallel()
	r := opened(t)
	ctx, stop := context.WithCancel(t.Context())
	changed := r.WatchAll(ctx)
	defer func() {
		stop()
		for range changed {
		}
	}()
	for _, d := range []GatewayState{{ID: "stays"}, {ID: "leaves"}} {
		if err := r.PutGateway(t.Context(), d, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.PutGateway(t.Context(), GatewayState{ID: "dies"}, time.Second); err != nil {
		t.Fatal(err)
	}
	if err := r.RemoveGateway(t.Context(), "leaves"); err != nil {
		t.Fatal(err)
	}
	if err := r.PutProgress(t.Context(), "2", Progress{Worker: "w", Partitions: []PartitionProgress{{Position: 3, Goal: 4}}}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Progress(t.Context(), "2"); err != nil || len(p) != 1 || p[0].Partitions[0].Position != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := r.Progress(t.Context(), "3"); err != nil || len(p) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if err := r.RemoveProgress(t.Context(), "2", "w"); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Progress(t.Context(), "2"); err != nil || len(p) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	for {
		gateways, err := r.Gateways(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(gateways) == 1 {
			if gateways[0].ID != "stays" {
				t.Errorf("%+v", gateways)
			}
			break
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("%+v", gateways)
		}
	}
	unlock, locked, err := r.Lock(t.Context(), "2", time.Minute)
	if err != nil || !locked {
		t.Fatal(locked, err)
	}
	if _, locked, err := r.Lock(t.Context(), "2", time.Minute); err != nil || locked {
		t.Error(locked, err)
	}
	if err := unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, locked, err := r.Lock(t.Context(), "2", time.Minute); err != nil || !locked {
		t.Error(locked, err)
	}
}

// A watch tells of the start, and of changes; its channel is closed at its end.
func TestWatch(t *testing.T) {
	t.Parallel()
	r := opened(t)
	ctx, stop := context.WithCancel(t.Context())
	changed := r.Watch(ctx)
	<-changed
	if err := r.Create(t.Context(), Record{Name: "2"}); err != nil {
		t.Fatal(err)
	}
	for {
		<-changed
		if all, err := r.List(t.Context()); err == nil && len(all) == 1 {
			break
		}
	}
	if err := r.Remove(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	for {
		<-changed
		if all, err := r.List(t.Context()); err == nil && len(all) == 0 {
			break
		}
	}
	stop()
	for range changed {
	}
}

func TestBuilt(t *testing.T) {
	t.Parallel()
	done, half := PartitionProgress{Partition: 0, Position: 4, Goal: 4}, PartitionProgress{Partition: 1, Position: 3, Goal: 4}
	for _, c := range []struct {
		what string
		of   []Progress
		want bool
	}{
		{"nobody", nil, false},
		{"one of two", []Progress{{Partitions: []PartitionProgress{done}}}, false},
		{"half", []Progress{{Partitions: []PartitionProgress{done, half}}}, false},
		{"all", []Progress{{Partitions: []PartitionProgress{done}}, {Partitions: []PartitionProgress{half, {Partition: 1, Position: 5, Goal: 4}}}}, true},
	} {
		if got := Built(c.of, 2); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// A preparation expires unless it is renewed, and watches see that. A renewed one lasts,
// and nobody ends the preparation of somebody else.
func TestPrepareFor(t *testing.T) {
	t.Parallel()
	r := opened(t)
	prepared := func(want string) {
		t.Helper()
		if p, err := r.Prepared(t.Context()); err != nil || p.Generation != want {
			t.Errorf("prepared %q, want %q, %v", p.Generation, want, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	changes := r.Watch(ctx)
	defer func() {
		cancel()
		for range changes {
		}
	}()
	killed, err := r.PrepareFor(t.Context(), "2", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	prepared("2")
	for p := (Prepare{Generation: "2"}); p.Generation != ""; { // until it has run out
		<-changes
		if p, err = r.Prepared(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := killed.Renew(t.Context()); err != nil { // who was only asleep
		t.Error(err)
	}
	prepared("2")

	first, err := r.PrepareFor(t.Context(), "2", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	same, err := r.PrepareFor(t.Context(), "2", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*Preparation{first, same, first} {
		if err := a.Renew(t.Context()); err != nil {
			t.Error(err)
		}
	}
	other, err := r.PrepareFor(t.Context(), "3", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Renew(t.Context()); !errors.Is(err, ErrChanged) {
		t.Errorf("overtaken: %v", err)
	}
	if err := first.End(t.Context()); err != nil {
		t.Error(err)
	}
	prepared("3")
	if err := other.End(t.Context()); err != nil {
		t.Error(err)
	}
	prepared("")
	if err := other.Renew(t.Context()); !errors.Is(err, ErrChanged) {
		t.Errorf("ended: %v", err)
	}
}
