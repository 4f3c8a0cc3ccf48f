package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Two workers share a rebuild in a database; it is compared, read, and dropped with
// its collections, while one of them comes and goes.
func TestWorkersRebuild(t *testing.T) {
	t.Parallel()
	database := startDatabase(t)
	nats := startNATS(t)
	name := fmt.Sprintf("rebuild_%d", time.Now().UnixNano())
	mongo := []string{"--nats-url", nats, "--mongodb-url", database.URL, "--mongodb-db", name, "--partitions", "4"}
	g := start(t, append([]string{"gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"}, mongo...)...)
	conn := dialGateway(t, g.address(t, "gRPC"))
	worker := func(id string) *command {
		return start(t, append([]string{"worker", "--worker-id", id, "--metrics-address", "127.0.0.1:0", "--lease", "60s"}, mongo...)...)
	}
	a, b := worker("a"), worker("b")
	shares(t, conn, map[string]int{"a": 2, "b": 2})
	for i := range 40 {
		record(t, conn, fmt.Sprintf("h%d", i%10), 1000*int64(i+1), 1000*int64(i+1)+10)
	}
	said := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), append(args, "--nats-url", nats), streams{out: &out, err: &out}); code != want {
			t.Fatalf("%v: exit %d: %s", args, code, &out)
		}
		return out.String()
	}
	if out := said(exitOK, "rebuild", "--name", "again", "--verify"); !strings.Contains(out, "40 events, 0 rejected") || !strings.Contains(out, "10 holders compared, 0 differ") {
		t.Error(out)
	}
	if out := said(exitOK, "generations", "--format", "csv"); !strings.Contains(out, "again,ready,none,merge,") {
		t.Error(out)
	}
	b.finish(t)
	record(t, conn, "h1", 90_000, 90_010)
	if out := said(exitOK, "verify", "again", "1"); !strings.Contains(out, "10 holders compared, 0 differ") {
		t.Error(out)
	}
	collections := func() (named int) {
		client, err := driver.Connect(options.Client().ApplyURI(database.URL))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Disconnect(context.WithoutCancel(t.Context())) }()
		names, err := client.Database(name).ListCollectionNames(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if strings.HasSuffix(n, "_again") {
				named++
			}
		}
		return named
	}
	if n := collections(); n != 5 {
		t.Errorf("%d collections of the generation", n)
	}
	if out := said(exitOK, "drop", "again"); !strings.Contains(out, "generation again is gone") {
		t.Error(out)
	}
	if n := collections(); n != 0 {
		t.Errorf("%d collections of the generation after the drop", n)
	}
	a.finish(t)
	g.finish(t)
}
