package mongo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"holdmetrics/internal/testwait"
	"holdmetrics/projection/mongo/mongotest"
)

// server is what the tests share, each with a database of its own; nil: there is
// none, for the reason in noServer.
var (
	server   *mongotest.Server
	noServer error
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	server, err = mongotest.New()
	switch {
	case errors.Is(err, mongotest.ErrNone):
		noServer = err
		fmt.Println("the tests of this package are skipped:", err)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	default:
		fmt.Println("tested with", server.Name)
	}
	code := testwait.Watch(m).Run()
	if server != nil {
		if err := server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

var databases atomic.Int64

// database is a name that no other test has; it is dropped in the end.
func database(tb testing.TB) string {
	tb.Helper()
	if server == nil {
		tb.Skip(noServer)
	}
	name := fmt.Sprintf("holdmetrics_test_%d_%d", os.Getpid(), databases.Add(1))
	tb.Cleanup(func() {
		if server.Ours() {
			return
		}
		if err := server.Drop(name); err != nil {
			tb.Error(err)
		}
	})
	return name
}

// testConfig is a store's in that database.
func testConfig(name string) Config {
	return Config{URL: server.URL, Database: name, Patience: 2 * time.Minute, OperationTimeout: time.Minute}
}

func open(tb testing.TB, name string) *Store {
	tb.Helper()
	s, err := Open(context.Background(), testConfig(name))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// inspect looks at a database with a client of its own.
func inspect(tb testing.TB, name string, fn func(context.Context, *driver.Database) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client, err := driver.Connect(options.Client().ApplyURI(server.URL))
	if err == nil {
		err = errors.Join(fn(ctx, client.Database(name)), client.Disconnect(ctx))
	}
	if err != nil {
		tb.Fatal(err)
	}
}
