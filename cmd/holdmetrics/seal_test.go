package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdpb "holdmetrics/proto"
)

// A log whose projections are in a database is sealed while gateway and worker run:
// the facts leave the database, figures as of the horizon and later stay, also after a
// restart of the worker and in a rebuild; what comes too late is refused by the gateway,
// or becomes a dead letter; and reads before the horizon are refused by a gateway that
// learns of it from what it reads.
func TestSealCluster(t *testing.T) {
	t.Parallel()
	database := startDatabase(t)
	nats := startNATS(t)
	name := fmt.Sprintf("seal_%d", time.Now().UnixNano())
	mongo := []string{"--nats-url", nats, "--mongodb-url", database.URL, "--mongodb-db", name, "--partitions", "4"}
	g := start(t, append([]string{"gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"}, mongo...)...)
	server := g.address(t, "gRPC")
	conn := dialGateway(t, server)
	worker := func() *command {
		return start(t, append([]string{"worker", "--worker-id", "a", "--metrics-address", "127.0.0.1:0", "--lease", "60s"}, mongo...)...)
	}
	a := worker()
	shares(t, conn, map[string]int{"a": 4})
	const holders, holds, horizon = 5, 100, 200_000
	var events errgroup.Group // at once: one after the other each waits for the disk
	for i := range int64(holders * holds) {
		at := 1000 * (i/holders + 1)
		events.Go(func() error { return tryRecord(t.Context(), conn, fmt.Sprint("h", i%holders), at, at+10*(i%holders+1)) })
	}
	if err := events.Wait(); err != nil {
		t.Fatal(err)
	}
	said := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), args, streams{out: &out, err: &out}); code != want {
			t.Fatalf("%v: exit %d: %s", args, code, &out)
		}
		return out.String()
	}
	scores := func(asOf string) string {
		t.Helper()
		var out bytes.Buffer
		eventually(t, "scores as of "+asOf, func() error { // a gateway waits for what is to be applied, but not for ever
			out.Reset()
			if code := run(t.Context(), []string{"stats", "--by-token", "--as-of", asOf, "--format", "csv", "--server", server}, streams{out: &out, err: &out}); code != exitOK {
				return errors.New(out.String())
			}
			return nil
		})
		return out.String()
	}
	count := func(collection string) int64 {
		t.Helper()
		client, err := driver.Connect(options.Client().ApplyURI(database.URL))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) }()
		n, err := client.Database(name).Collection(collection).CountDocuments(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	asOf := []string{fmt.Sprint(horizon), "250000", "9999999"}
	before := map[string]string{}
	for _, at := range asOf {
		before[at] = scores(at)
	}
	if n := count("hold_events"); n != holders*holds {
		t.Fatalf("%d facts", n)
	}

	// Sealed are those of the first half; of a pair the rest stays.
	if out := said(exitOK, "seal", "--before", "50500", "--nats-url", nats); !strings.Contains(out, "all before 1970-01-01T14:01:40Z") {
		t.Error(out)
	}
	left := func(collection string, want int64) {
		t.Helper()
		eventually(t, collection+" is sealed", func() error {
			if n := count(collection); n != want {
				return fmt.Errorf("%d facts, want %d", n, want)
			}
			return nil
		})
	}
	left("hold_events", holders*holds/2)
	if out := scores("50500"); !strings.Contains(out, "t,h0,500,500,500,500") {
		t.Error(out)
	}
	a.finish(t)
	if out := said(exitOK, "seal", "--before", fmt.Sprint(horizon), "--nats-url", nats); !strings.Contains(out, "all before 1970-01-03T07:33:20Z") {
		t.Error(out)
	}
	a = worker()
	shares(t, conn, map[string]int{"a": 4})
	left("hold_events", 0)
	left("hold_sealed", 0)
	for _, at := range asOf {
		if got := scores(at); got != before[at] {
			t.Errorf("as of %s:\n%s\nwas\n%s", at, got, before[at])
		}
	}
	if out := said(exitOK, "explain", "h1", "--as-of", "250000", "--format", "csv", "--server", server); !strings.Contains(out, "t,,1970-01-02T03:47:00Z,,2000,0,2000,2000,merge,") {
		t.Error(out)
	}
	stream, err := holdpb.NewHoldMetricsQueryClient(conn).Scores(t.Context(), &holdpb.ScoresRequest{AsOf: &timestamppb.Timestamp{Seconds: horizon - 1}})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a read before the horizon: %v", err)
	}

	// What comes too late.
	ack, err := holdpb.NewHoldMetricsClient(conn).Record(t.Context(), &holdpb.HoldMsg{
		TokenId: "t", HolderId: "h1", Start: &timestamppb.Timestamp{Seconds: 5}, End: &timestamppb.Timestamp{Seconds: 15},
	})
	if ack.GetOk() || status.Code(err) != codes.FailedPrecondition && status.Code(err) != codes.InvalidArgument {
		t.Errorf("a hold before the horizon: %v, %v", ack, err)
	}
	record(t, conn, "h1", horizon-1000, horizon+1000) // which no gateway can judge
	record(t, conn, "h1", horizon+2000, horizon+2500)
	if out := scores("9999999"); !strings.Contains(out, "t,h1,2500,2500,2500,2500") {
		t.Error(out)
	}
	if out := said(exitOK, "dlq", "list", "--nats-url", nats); !strings.Contains(out, "start is of a time that is sealed") {
		t.Error(out)
	}

	// A rebuild comes to the same, and is sealed too.
	if out := said(exitOK, "rebuild", "--name", "again", "--verify", "--nats-url", nats); !strings.Contains(out, "501 events, 1 rejected") || !strings.Contains(out, "5 holders compared, 0 differ") {
		t.Error(out)
	}
	left("hold_events_again", 1)
	left("hold_events", 1)
	a.finish(t)
	g.finish(t)
}
