package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold/rules"
	"holdmetrics/processor/generation"
	holdpb "holdmetrics/proto"
)

// twice doubles every score, and leaves the pool out.
const twice = `
exclude: [pool]
tokens:
  - match: "*"
    multiplier: 2
`

// switched is a server with two generations: "1", and "2" by the rules twice.
type switched struct {
	*server
	registry *generation.Registry
	rules    map[string]string // versions, by generation

	mu     sync.Mutex
	events map[string]uint64 // acknowledged, by holder
}

func (s *switched) connect() {
	s.t.Helper()
	_, js := s.natsConn()
	var err error
	if s.registry, err = generation.Open(s.t.Context(), js, 1); err != nil {
		s.t.Fatal(err)
	}
}

// gateway waits until the one gateway reports what is wanted.
func (s *switched) gateway(what string, wanted func(generation.GatewayState) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	changes := s.registry.WatchAll(ctx)
	defer func() {
		cancel()
		for range changes {
		}
	}()
	for range changes {
		gateways, err := s.registry.Gateways(ctx)
		if err == nil && len(gateways) == 1 && wanted(gateways[0]) {
			return
		}
		if ctx.Err() != nil {
			s.t.Fatalf("the gateway is not %s: %+v, %v", what, gateways, err)
		}
	}
	s.t.Fatalf("the gateway is not %s", what)
}

func (s *switched) activate(from, to string, prepare bool) {
	s.t.Helper()
	if !prepare {
		if err := s.registry.Prepare(s.t.Context(), ""); err != nil {
			s.t.Fatal(err)
		}
	} else {
		if err := s.registry.Prepare(s.t.Context(), to); err != nil {
			s.t.Fatal(err)
		}
		s.gateway("prepared", func(d generation.GatewayState) bool { return d.Prepared == to && d.Active == from && d.LastError == "" })
	}
	if err := s.registry.Activate(s.t.Context(), from, to, 0, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	s.gateway("switched", func(d generation.GatewayState) bool { return d.Active == to && d.Prepared == "" && d.LastError == "" })
	var status struct{ Generation, Rules string }
	if answer(s.t, s.server, "/status", &status); status.Generation != to || status.Rules != s.rules[to] {
		s.t.Errorf("status: %+v", status)
	}
}

// record sends an event of 20 weight-seconds, and reads the holder back.
func (s *switched) record(ctx context.Context, metrics holdpb.HoldMetricsClient, query holdpb.HoldMetricsQueryClient, holder string) (*holdpb.HoldStat, error) {
	s.mu.Lock()
	n := s.events[holder] + 1
	s.events[holder] = n
	s.mu.Unlock()
	start := time.Unix(1_600_000_000+100*int64(n), 0)
	ack, err := metrics.Record(ctx, &holdpb.HoldMsg{TokenId: "t", HolderId: holder, Start: timestamppb.New(start), End: timestamppb.New(start.Add(10 * time.Second)), Weight: 2})
	if err != nil || !ack.Ok {
		return nil, fmt.Errorf("record: %v, %w", ack, err)
	}
	if holder == "pool" {
		return nil, nil // which is not there by some rules
	}
	stream, err := query.GetSnapshot(ctx, &holdpb.StatsRequest{HolderIds: []string{holder}, After: ack.Position})
	if err != nil {
		return nil, err
	}
	stat, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if stat.Position < ack.Position {
		return nil, fmt.Errorf("recorded at %d, and read %v", ack.Position, stat)
	}
	return stat, s.check(stat, n)
}

// check reports whether a snapshot is what its generation says of so many events.
func (s *switched) check(stat *holdpb.HoldStat, events uint64) error {
	score := 20 * events
	if stat.Generation == "2" {
		score *= 2
	}
	if stat.ScoreExact != fmt.Sprint(score) || stat.Rules != s.rules[stat.Generation] || stat.Generation == "2" && stat.HolderId == "pool" {
		return fmt.Errorf("generation %s (rules %s) has %s after %d events: %v", stat.Generation, s.rules[stat.Generation], stat.ScoreExact, events, stat)
	}
	return nil
}

// A generation is prepared and activated by the record in the registry, under a
// watcher and a producer: exactly the doubled figures, and after the rollback the
// old ones. A server that was started again serves the one that is active.
func TestGenerationsAreSwitched(t *testing.T) {
	t.Parallel()
	s := &switched{server: start(t, t.TempDir()), events: map[string]uint64{}, rules: map[string]string{}}
	s.connect()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience) // of the whole test
	defer cancel()
	first, err := s.registry.Get(ctx, "1")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := rules.Parse("twice", []byte(twice))
	if err != nil {
		t.Fatal(err)
	}
	s.rules["1"], s.rules["2"] = first.Version, parsed.Version()

	conn := s.dial()
	metrics, query := holdpb.NewHoldMetricsClient(conn), holdpb.NewHoldMetricsQueryClient(conn)
	holders := []string{"alice", "bob", "carol", "dave"}
	for _, h := range append([]string{"pool"}, holders...) {
		if _, err := s.record(ctx, metrics, query, h); err != nil {
			t.Fatal(err)
		}
	}
	err = s.registry.Create(ctx, generation.Record{
		Name: "2", Rules: parsed.Text(), Version: parsed.Version(), Policy: parsed.DefaultPolicy().String(), Created: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}

	// The watcher keeps what it has seen; its positions never step back.
	watching, end := context.WithCancel(ctx)
	stream, err := metrics.Stats(watching, &holdpb.StatsRequest{Watch: true})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]*holdpb.HoldStat{}
	news := make(chan struct{}, 1)
	ended := make(chan error, 2)
	go func() {
		ended <- func() error {
			positions := map[string]uint64{}
			for {
				stat, err := stream.Recv()
				if watching.Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				mu.Lock()
				switch {
				case stat.Gone:
					delete(seen, stat.HolderId)
				case !stat.Complete:
					if stat.Position < positions[stat.HolderId] {
						err = fmt.Errorf("the watcher was at %d: %v", positions[stat.HolderId], stat)
					}
					positions[stat.HolderId] = stat.Position
					seen[stat.HolderId] = stat
				}
				mu.Unlock()
				if err != nil {
					return err
				}
				select {
				case news <- struct{}{}:
				default:
				}
			}
		}()
	}()
	producing, stop := context.WithCancel(ctx)
	go func() {
		ended <- func() error {
			for i := 0; producing.Err() == nil; i++ {
				if i%7 == 0 {
					if _, err := s.record(ctx, metrics, query, "pool"); err != nil {
						return err
					}
				}
				if _, err := s.record(ctx, metrics, query, holders[i%len(holders)]); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	// seen waits until the watcher has exactly what a generation says.
	exactly := func(name string) {
		t.Helper()
		for {
			right := 0
			mu.Lock()
			s.mu.Lock()
			for h, stat := range seen {
				if stat.Generation == name && s.check(stat, s.events[h]) == nil {
					right++
				}
			}
			want := len(s.events)
			s.mu.Unlock()
			all := len(seen)
			mu.Unlock()
			if name == "2" {
				want-- // the pool
			}
			if right == want && all == want {
				return
			}
			select {
			case <-news:
			case err := <-ended:
				t.Fatalf("watcher or producer: %v", err)
			case <-ctx.Done():
				t.Fatalf("the watcher has %v", seen)
			}
		}
	}
	s.activate("1", "2", true)
	s.activate("2", "1", true)
	s.activate("1", "2", false) // somebody wrote it by hand
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	exactly("2")
	s.activate("2", "1", true)
	exactly("1")
	s.activate("1", "2", true)
	exactly("2")
	end()
	if err := <-ended; err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}

	s.stop()
	s.server = start(t, s.dir)
	s.connect()
	s.gateway("there", func(d generation.GatewayState) bool { return d.Active == "2" })
	var rows []struct {
		HolderID string `json:"holder_id"`
		Score    string `json:"score_exact"`
	}
	if answer(t, s.server, "/stats", &rows); len(rows) != len(holders) {
		t.Fatalf("%+v", rows)
	}
	for _, row := range rows {
		if want := fmt.Sprint(40 * s.events[row.HolderID]); row.Score != want {
			t.Errorf("%+v, want %s", row, want)
		}
	}
	s.activate("2", "1", true)
}
