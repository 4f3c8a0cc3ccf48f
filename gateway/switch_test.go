package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway"
	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/internal/stall"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// A read that waits for a position goes on waiting at the next generation; a cursor
// of the former one is refused; a watch with an id of it starts over.
func TestReadsAcrossASwitch(t *testing.T) {
	t.Parallel()
	s := newSwitchWorld(t)
	for _, h := range []string{"alice", "bob", "carol"} {
		s.log.append(h)
	}
	page, err := s.Query().Top(t.Context(), &holdpb.TopRequest{Limit: 1, After: 3})
	if err != nil || page.NextCursor == "" {
		t.Fatal(page, err)
	}
	events, _ := gatewaytest.EventsOf(t, s.World, "", "")
	id := ""
	for id == "" {
		if line := events(); len(line) > 3 && line[:3] == "id " {
			id = line[3:]
		}
	}
	// The position is in the log, and the snapshots that are served do not have it.
	old := s.Gateway.Reads().Active()
	old.Snapshots.Freeze()
	position := s.log.append("alice")
	waiting := make(chan error, 1)
	go func() {
		stats, err := gatewaytest.Received(s.Query().GetSnapshot(t.Context(), &holdpb.StatsRequest{HolderIds: []string{"alice"}, After: position}))
		if err == nil && (stats[0].Generation != "2" || stats[0].Position != position) {
			err = fmt.Errorf("%v", stats)
		}
		waiting <- err
	}()
	testwait.Poll(t, "the gateway, the watch and the read have the generation", func() error {
		if users := old.Users.Load(); users < 3 {
			return fmt.Errorf("%d users", users)
		}
		return nil
	})
	s.to(t, "2")
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	if _, err := s.Query().Top(t.Context(), &holdpb.TopRequest{Limit: 1, Cursor: page.NextCursor}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a cursor of another generation: %v", err)
	}
	resp, err := http.Get(s.Url + "/top?limit=1&cursor=" + page.NextCursor)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusGone {
		t.Errorf("a cursor of another generation: %d", resp.StatusCode)
	}
	events, _ = gatewaytest.EventsOf(t, s.World, "", id)
	gatewaytest.Expect(t, events, "alice 2000", "bob 1000", "carol 1000", "complete")

	body, err := s.Query().Status(t.Context(), &holdpb.Empty{})
	if err != nil || body.Generation != "2" || body.Rules != "rules of 2" || body.Prepared != "" {
		t.Error(body, err)
	}
}

// What cannot be switched to is not; the one that is served goes on.
func TestSwitchRefuses(t *testing.T) {
	t.Parallel()
	s := newSwitchWorld(t)
	position := s.log.append("alice")
	if err := s.Gateway.Switch(t.Context(), "2"); !errors.Is(err, gateway.ErrNotPrepared) {
		t.Error(err)
	}
	if err := s.Gateway.Switch(t.Context(), "1"); err != nil {
		t.Error(err) // it is active
	}
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), s.Partition("alice"), position); err != nil {
		t.Fatal(err)
	}
	// One that stands still is never ready.
	closed := 0
	stands := s.generations["2"].open(t)
	stands.Close = func() error { closed++; return nil }
	if err := stands.Snapshots.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	stands.Snapshots.Freeze()
	position = s.log.append("alice")
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), s.Partition("alice"), position); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Gateway.Prepare(ctx, stands); !errors.Is(err, query.ErrBehind) || closed != 1 || s.Gateway.Prepared() != "" {
		t.Errorf("%v; closed %d times", err, closed)
	}
	// One that stands still after it was prepared is not switched to.
	prepared := s.generations["2"].open(t)
	prepared.Close = func() error { closed++; return nil }
	if err := s.Gateway.Prepare(t.Context(), prepared); err != nil {
		t.Fatal(err)
	}
	if s.Gateway.Prepared() != "2" {
		t.Errorf("%q is prepared", s.Gateway.Prepared())
	}
	prepared.Snapshots.Freeze()
	position = s.log.append("alice")
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), s.Partition("alice"), position); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Gateway.Switch(ctx, "2"); !errors.Is(err, query.ErrBehind) {
		t.Error(err)
	}
	if now := s.Gateway.Serving(); now.Generation != "1" || now.Rules != "rules of 1" {
		t.Error(now)
	}
	if err := s.client().own(t.Context(), "alice"); err != nil {
		t.Error(err) // nothing stands still
	}
	prepared.Snapshots.Thaw()
	if err := s.Gateway.Switch(t.Context(), "2"); err != nil {
		t.Error(err)
	}
	s.Close()
	if closed != 2 {
		t.Errorf("closed %d times", closed)
	}
}

// Nobody reads from the store of a generation before it has what was read from the
// one before, whatever position the reader asks for.
func TestStoreDoesNotStepBack(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Generation = "1"
		w.Cfg.Log = &fakes.Log{Size: 4, Ends: map[int]uint64{0: 9, 1: 9, 2: 9, 3: 9}}
	})
	w.Apply(t, 8, 8e9, fakes.Held("x", "alice", 1000, 2000, 1))
	if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{HolderId: "alice", After: 4}); err != nil {
		t.Fatal(err)
	}
	waited := make(chan uint64, 8)
	next := w.Cfg.Backend
	next.Generation, next.Snapshots = "2", fakes.ReadySnapshots()
	next.WaitApplied = func(_ context.Context, _ int, position uint64) error { waited <- position; return nil }
	if err := w.Gateway.Prepare(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if err := w.Gateway.Switch(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	for len(waited) > 0 {
		<-waited
	}
	if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{HolderId: "alice", After: 4}); err != nil {
		t.Fatal(err)
	}
	if position := <-waited; position != 8 {
		t.Errorf("waited for %d, and 8 was read before", position)
	}
}

// A generation that stands still while it is prepared or switched to is given up after a
// while, though nobody gave the call a deadline; the error names the partition, both
// positions and what was last heard.
func TestPrepareGivesUp(t *testing.T) {
	t.Parallel()
	s := newSwitchWorld(t, func(c *gateway.Config) { c.PrepareStall = 20 * time.Millisecond })
	position := s.log.append("alice")
	partition := s.Partition("alice")
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), partition, position); err != nil {
		t.Fatal(err)
	}
	stalls := func(err error, want ...string) {
		t.Helper()
		if !errors.Is(err, stall.ErrStalled) {
			t.Errorf("%v", err)
			return
		}
		for _, text := range want {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v, want %s", err, text)
			}
		}
		if s.Gateway.Prepared() != "" && s.Gateway.Serving().Generation != "1" {
			t.Errorf("%q is prepared, %+v served", s.Gateway.Prepared(), s.Gateway.Serving())
		}
	}
	// loaded is the generation, up to the active one, so that Prepare has nothing to
	// wait for but what is made to stand still.
	loaded := func() query.Backend {
		t.Helper()
		b := s.generations["2"].open(t)
		if err := errors.Join(b.Snapshots.Wait(t.Context()), b.Snapshots.WaitPosition(t.Context(), partition, position)); err != nil {
			t.Fatal(err)
		}
		return b
	}
	grow := func() {
		t.Helper()
		position = s.log.append("alice")
		if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), partition, position); err != nil {
			t.Fatal(err)
		}
	}
	away := func(context.Context) error { return errors.New("the broker is away") }

	// Its snapshots do not move.
	still := loaded()
	still.Ready = away
	still.Snapshots.Freeze()
	before := position
	grow()
	stalls(s.Gateway.Prepare(t.Context(), still),
		fmt.Sprintf("generation 2, partition %d: the snapshots are at position %d, wanted %d: no progress for 20ms: last heard: the broker is away", partition, before, position))

	// Its snapshots never come.
	never := s.generations["2"].open(t)
	never.Snapshots.Close()
	never.Snapshots, never.Ready = unready{never.Snapshots}, away
	stalls(s.Gateway.Prepare(t.Context(), never), "loading snapshots, ", "no progress for 20ms: last heard: the broker is away")

	// Its store does not apply what its snapshots have.
	slow := loaded()
	slow.Ready = away
	slow.WaitApplied = func(ctx context.Context, _ int, _ uint64) error { <-ctx.Done(); return ctx.Err() }
	stalls(s.Gateway.Prepare(t.Context(), slow), "the store has not applied position", "last heard: the broker is away")
	slow = loaded()
	slow.Reader = silentReader{slow.Reader}
	stalls(s.Gateway.Prepare(t.Context(), slow), "asking the store: no progress for 20ms")

	// It stands still after it was prepared.
	late := loaded()
	if err := s.Gateway.Prepare(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	late.Snapshots.Freeze()
	grow()
	stalls(s.Gateway.Switch(t.Context(), "2"), fmt.Sprintf("wanted %d: no progress for 20ms", position))
}

// unready are snapshots that never become complete.
type unready struct{ query.Snapshots }

func (unready) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// silentReader is a store that does not answer.
type silentReader struct{ projection.Reader }

func (silentReader) Ping(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
