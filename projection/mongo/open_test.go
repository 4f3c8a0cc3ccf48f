package mongo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"holdmetrics/projection"
)

// Collections and indexes are made at the start, by however many at once, and
// again does no harm.
func TestSetUp(t *testing.T) {
	t.Parallel()
	name := database(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := Open(context.Background(), testConfig(name))
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(s.Ping(context.Background()), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	inspect(t, name, func(ctx context.Context, db *driver.Database) error {
		for collection, want := range map[string][]string{
			eventsName: {"_id_", byPair},
			statsName:  {"_id_", byPosition, byScore},
		} {
			specs, err := db.Collection(collection).Indexes().ListSpecifications(ctx)
			if err != nil {
				return err
			}
			var names []string
			for _, spec := range specs {
				names = append(names, spec.Name)
			}
			slices.Sort(names)
			if !slices.Equal(names, want) {
				t.Errorf("indexes of %s are %q, want %q", collection, names, want)
			}
		}
		return nil
	})
}

func TestForeignDatabase(t *testing.T) {
	t.Parallel()
	for what, put := range map[string]func(context.Context, *driver.Database) error{
		"facts of another program": func(ctx context.Context, db *driver.Database) error {
			_, err := db.Collection(eventsName).InsertOne(ctx, bson.D{{Key: "token_id", Value: "t"}})
			return err
		},
		"another format": func(ctx context.Context, db *driver.Database) error {
			_, err := db.Collection(metaName).InsertOne(ctx, bson.D{{Key: "_id", Value: formatID}, {Key: "format", Value: int64(99)}})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			name := database(t)
			inspect(t, name, put)
			if _, err := Open(context.Background(), testConfig(name)); !errors.Is(err, projection.ErrForeign) {
				t.Errorf("open: %v, want ErrForeign", err)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, "MONGODB_URL"},
		{Config{URL: "http://x"}, "MONGODB_URL"},
		{Config{URL: "mongodb://x", PoolMin: 200}, "MONGO_POOL_MIN"},
		{Config{URL: "mongodb://x", Connect: -1}, "below zero"},
	} {
		if _, err := Open(context.Background(), c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("open with %+v: %v, want it to name %s", c.config, err, c.want)
		}
	}
	c := Config{URL: "mongodb://x/?maxPoolSize=7&connectTimeoutMS=250&w=1&retryWrites=false", PoolMin: 3, ServerSelection: time.Second}.withDefaults()
	o := c.client()
	if *o.MaxPoolSize != 7 || *o.MinPoolSize != 3 || *o.ConnectTimeout != 250*time.Millisecond || *o.ServerSelectionTimeout != time.Second {
		t.Errorf("the pool is %d to %d, timeouts %v and %v", *o.MinPoolSize, *o.MaxPoolSize, *o.ConnectTimeout, *o.ServerSelectionTimeout)
	}
	if o.WriteConcern.W != "majority" || !*o.WriteConcern.Journal || !*o.RetryWrites || !*o.RetryReads {
		t.Errorf("writes wait for %v and are retried: %v", o.WriteConcern.W, *o.RetryWrites)
	}
}

func TestErrorClasses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want error
	}{
		{driver.CommandError{Code: 10107, Message: "not primary"}, projection.ErrUnavailable},
		{driver.CommandError{Code: 999, Labels: []string{"RetryableWriteError"}}, projection.ErrUnavailable},
		{driver.CommandError{Code: 50, Name: "MaxTimeMSExpired"}, projection.ErrUnavailable},
		{driver.BulkWriteException{WriteConcernError: &driver.WriteConcernError{Code: 64}}, projection.ErrUnavailable},
		{driver.BulkWriteException{WriteErrors: []driver.BulkWriteError{{WriteError: driver.WriteError{Code: 14031}}}}, projection.ErrUnavailable},
		{context.DeadlineExceeded, projection.ErrUnavailable}, // of one round trip
		{errors.New("connection reset"), projection.ErrUnavailable},
		{errRaced, projection.ErrUnavailable},
		{driver.CommandError{Code: 13, Name: "Unauthorized"}, projection.ErrRefused},
		{driver.CommandError{Code: 18, Name: "AuthenticationFailed"}, projection.ErrRefused},
		{driver.WriteException{WriteErrors: driver.WriteErrors{{Code: 121}}}, projection.ErrRefused},
		{driver.MarshalError{}, projection.ErrRefused},
		{fenced(1, 3, 2), projection.ErrFenced},
		{corrupt(eventsName, 1, errID), projection.ErrCorrupt},
	} {
		err := explain("do", c.err)
		if !errors.Is(err, c.want) {
			t.Errorf("%v is %v, want %v", c.err, err, c.want)
		}
		if temporary(c.err) != (c.want == projection.ErrUnavailable) {
			t.Errorf("%v is temporary: %v", c.err, temporary(c.err))
		}
	}
	if err := explain("do", driver.CommandError{Code: 13}); !strings.Contains(err.Error(), "readWrite") {
		t.Errorf("no hint in %q", err)
	}
}
