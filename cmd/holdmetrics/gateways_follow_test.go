package main

import (
	"context"
	"fmt"
	"github.com/nats-io/nats.go"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"holdmetrics/hold/rules"
	"holdmetrics/internal/natstest"
	"holdmetrics/processor/generation"
	holdpb "holdmetrics/proto"
)

func openRegistry(t *testing.T, url string, options ...nats.Option) *generation.Registry {
	t.Helper()
	registry, err := generation.Open(t.Context(), natstest.JetStreamAt(t, url, options...), 1)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// gatewaysAre waits until so many gateways are as wanted.
func gatewaysAre(t *testing.T, r *generation.Registry, what string, n int, wanted func(*generation.GatewayState) bool) {
	t.Helper()
	eventually(t, what, func() error {
		gateways, err := r.Gateways(t.Context())
		if err != nil {
			return err
		}
		right := 0
		for i := range gateways {
			if wanted(&gateways[i]) {
				right++
			}
		}
		if right != n || len(gateways) != n {
			return fmt.Errorf("%+v", gateways)
		}
		return nil
	})
}

// Two gateways beside a worker follow the registry: they load a generation, say so,
// switch, and say what keeps them from it. One that is stopped takes itself out.
func TestGatewaysFollowTheRegistry(t *testing.T) {
	t.Parallel()
	gatewaysFollow(t, nil, []string{"--store", "embedded", "--data-dir", t.TempDir()})
}

// The same where they have a database: scores come from the generation's own collections.
func TestGatewaysFollowTheRegistryWithAStore(t *testing.T) {
	t.Parallel()
	database := startDatabase(t)
	store := []string{"--mongodb-url", database.URL, "--mongodb-db", fmt.Sprintf("gateways_%d", time.Now().UnixNano())}
	gatewaysFollow(t, store, store)
}

// scoreOf is a holder's score as the store of a gateway has it.
func scoreOf(t *testing.T, conn *grpc.ClientConn, holder string) string {
	t.Helper()
	stream, err := holdpb.NewHoldMetricsQueryClient(conn).Scores(t.Context(), &holdpb.ScoresRequest{HolderId: holder})
	var score *holdpb.Score
	if err == nil {
		score, err = stream.Recv()
	}
	if err != nil {
		return status.Code(err).String()
	}
	return score.GetScore()
}

func gatewaysFollow(t *testing.T, gatewayStore, workerStore []string) {
	scores := func(conn *grpc.ClientConn, alice, pool string) {
		t.Helper()
		if gatewayStore == nil {
			alice, pool = "FailedPrecondition", "FailedPrecondition"
		}
		if a, p := scoreOf(t, conn, "alice"), scoreOf(t, conn, "pool"); a != alice || p != pool {
			t.Errorf("the store says %s and %s, want %s and %s", a, p, alice, pool)
		}
	}
	natsURL := startNATS(t)
	gateways := []*command{}
	conns := map[string]holdpb.HoldMetricsClient{}
	common := []string{"--nats-url", natsURL, "--partitions", "4"}
	gatewayArgs := append([]string{"gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"}, append(gatewayStore, common...)...)
	gateway := func() string {
		c := start(t, gatewayArgs...)
		address := c.address(t, "gRPC")
		gateways = append(gateways, c)
		conns[address] = holdpb.NewHoldMetricsClient(dialGateway(t, address))
		return address
	}
	first := gateway() // before there is any generation
	r := openRegistry(t, natsURL)
	gatewaysAre(t, r, "one gateway", 1, func(d *generation.GatewayState) bool { return d.Active == generation.First && d.LastError == "" })
	start(t, append([]string{"worker", "--metrics-address", "127.0.0.1:0", "--lease", "60s"}, append(workerStore, common...)...)...)
	conn := dialGateway(t, first)
	record(t, conn, "alice", 1000, 1100)
	record(t, conn, "pool", 1000, 1100)
	both := map[string]int64{"alice": 100, "pool": 100}
	snapshots(t, conn, both)
	eventually(t, "the rules that the worker recorded", func() error {
		s, err := holdpb.NewHoldMetricsQueryClient(conn).Status(t.Context(), &holdpb.Empty{})
		if err == nil && s.GetRules() == "" {
			err = fmt.Errorf("%v", s)
		}
		return err
	})
	second := dialGateway(t, gateway())
	snapshots(t, second, both)
	scores(second, "100", "100")

	parsed, err := rules.Parse("test", []byte("exclude: [pool]"))
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string, until uint64) {
		t.Helper()
		err := r.Create(t.Context(), generation.Record{
			Name: name, Rules: parsed.Text(), Version: parsed.Version(), Policy: parsed.DefaultPolicy().String(), Created: time.Now(), Until: until,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	prepare := func(name string) {
		t.Helper()
		if err := r.Prepare(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	create("2", 0)
	create("past", 1)

	prepare("none")
	gatewaysAre(t, r, "none of that name", 2, func(d *generation.GatewayState) bool {
		return d.Active == "1" && d.Prepared == "" && strings.Contains(d.LastError, "none")
	})
	prepare("past")
	gatewaysAre(t, r, "one that ends", 2, func(d *generation.GatewayState) bool {
		return d.Active == "1" && strings.Contains(d.LastError, "generation past ends at position 1")
	})
	prepare("2")
	gatewaysAre(t, r, "prepared", 2, func(d *generation.GatewayState) bool {
		return d.Active == "1" && d.Prepared == "2" && d.LastError == ""
	})
	prepare("")
	gatewaysAre(t, r, "let go of", 2, func(d *generation.GatewayState) bool { return d.Active == "1" && d.Prepared == "" && d.LastError == "" })
	prepare("2")
	gatewaysAre(t, r, "prepared again", 2, func(d *generation.GatewayState) bool { return d.Prepared == "2" })
	if err := r.Activate(t.Context(), "1", "2", 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	gatewaysAre(t, r, "switched", 2, func(d *generation.GatewayState) bool { return d.Active == "2" && d.Prepared == "" && d.LastError == "" })
	for _, c := range conns {
		snapshotsOf(t, c, "2", map[string]int64{"alice": 100})
	}
	scores(conn, "100", "NotFound")
	scores(second, "100", "NotFound")
	gateways[1].finish(t)
	gatewaysAre(t, r, "one is gone", 1, func(d *generation.GatewayState) bool { return d.Active == "2" })
	third := gateway() // begins with what is active
	snapshotsOf(t, conns[third], "2", map[string]int64{"alice": 100})
	if err := r.Activate(t.Context(), "2", "1", 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	gatewaysAre(t, r, "switched back, unprepared", 2, func(d *generation.GatewayState) bool { return d.Active == "1" })
	snapshotsOf(t, conns[third], "1", both)
	snapshotsOf(t, conns[first], "1", both)
	scores(conn, "100", "100")
}

// snapshotsOf wants all holders of a generation at once: nothing is waited for.
func snapshotsOf(t *testing.T, c holdpb.HoldMetricsClient, name string, want map[string]int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := c.Stats(ctx, &holdpb.StatsRequest{})
	have := map[string]int64{}
	for err == nil {
		var s *holdpb.HoldStat
		if s, err = stream.Recv(); err == nil {
			have[s.GetHolderId()] = s.GetTotalSeconds()
			if s.GetGeneration() != name {
				t.Errorf("of generation %s: %v", name, s)
			}
		}
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("%v (%v), want %v", have, err, want)
	}
}
