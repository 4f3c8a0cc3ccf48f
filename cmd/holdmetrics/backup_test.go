package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// A cluster's log is copied while it is written to, and becomes the log of another
// cluster: workers go on there from a database that is older than the backup, and
// make everything from the log if there is none.
func TestBackupOfACluster(t *testing.T) {
	t.Parallel()
	database := startDatabase(t)
	kept := fmt.Sprintf("kept_%d", time.Now().UnixNano())
	processes := func(nats, name string) (conn *grpc.ClientConn, g, w *command) {
		where := []string{"--nats-url", nats, "--mongodb-url", database.URL, "--mongodb-db", name, "--partitions", "4"}
		g = start(t, append([]string{"gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"}, where...)...)
		conn = dialGateway(t, g.address(t, "gRPC"))
		w = start(t, append([]string{"worker", "--worker-id", "a", "--metrics-address", "127.0.0.1:0", "--lease", "60s"}, where...)...)
		return conn, g, w
	}
	ours := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), args, streams{out: &out, err: &out}); code != exitOK {
			t.Fatalf("%v: %d: %s", args, code, &out)
		}
		return out.String()
	}

	here := startNATS(t)
	conn, g, w := processes(here, kept)
	shares(t, conn, map[string]int{"a": 4})
	want := map[string]int64{}
	more := func(conn *grpc.ClientConn, from int64) {
		for i := range int64(10) {
			holder := fmt.Sprintf("h%d", i)
			record(t, conn, holder, from, from+i)
			want[holder] += i
		}
	}
	more(conn, 1000)
	snapshots(t, conn, want)
	w.finish(t) // from here on the database is older than the log
	more(conn, 2000)
	file := filepath.Join(t.TempDir(), "log.backup")
	if said := ours("backup", file, "--nats-url", here); !strings.Contains(strings.Join(strings.Fields(said), " "), "store none: it is made again from the log") {
		t.Errorf("%s", said)
	}
	g.finish(t)

	for _, name := range []string{kept, kept + "_new"} {
		there := startNATS(t)
		ours("restore", file, "--nats-url", there)
		conn, g, w := processes(there, name)
		shares(t, conn, map[string]int{"a": 4})
		snapshots(t, conn, want)
		if name != kept {
			more(conn, 3000)
			snapshots(t, conn, want)
		}
		w.finish(t)
		g.finish(t)
		var out bytes.Buffer
		if code := run(t.Context(), []string{"restore", file, "--nats-url", there}, streams{out: &out, err: &out}); code != exitFailed || !strings.Contains(out.String(), " exists at ") {
			t.Errorf("restored over a log: %d, %s", code, &out)
		}
	}
}
