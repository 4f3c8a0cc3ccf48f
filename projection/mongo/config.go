package mongo

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"holdmetrics/hold"
)

// Defaults of [Config].
const (
	DefaultDatabase         = "holdmetrics"
	DefaultPoolMax          = 100
	DefaultServerSelection  = 5 * time.Second
	DefaultConnect          = 30 * time.Second // a server that has much to do answers a handshake late, and is not lost
	DefaultOperationTimeout = 30 * time.Second
	DefaultPatience         = 10 * time.Second

	// defaultCloseWithin is how long Close waits for what is open: longer than a call
	// lasts by the defaults above.
	defaultCloseWithin = time.Minute
)

// Logger receives what is going wrong while the store is opened. It is called
// from several goroutines. A *zap.SugaredLogger is one.
type Logger interface {
	Infof(format string, args ...any)
	Errorf(format string, args ...any)
}

// Config says which database and how to talk to it. URL alone is required; zero
// values mean the defaults.
type Config struct {
	// URL is a connection string, mongodb:// or mongodb+srv:// (MONGODB_URL). Its
	// options hold where the fields below are zero, except that writes always wait
	// for a majority's journals and are retried, and reads go to the primary.
	URL string
	// Database holds the collections (MONGODB_DB), those of all generations.
	Database string
	// Generation has collections of its own, hold_events_<generation> and so on; ""
	// is the first one, whose collections are named without it.
	Generation string

	PoolMax uint64 // connections to a server at most (MONGO_POOL_MAX)
	PoolMin uint64 // connections that are kept open (MONGO_POOL_MIN)
	// ServerSelection is how long an operation waits for a server that can take it,
	// a primary above all (MONGO_SST_MS).
	ServerSelection time.Duration
	// Connect is how long dialling and the handshake may take (MONGO_CONNECT_MS).
	Connect time.Duration

	// OperationTimeout bounds one round trip, so that a server that has stopped
	// answering is noticed. It is longer than the slowest index build at a start
	// takes: indexes are made while the collections are empty.
	OperationTimeout time.Duration
	// Patience is for how long a call tries again while the database is away; then
	// it returns an error that wraps [projection.ErrUnavailable], and the caller may
	// call again. Open is patient without end.
	Patience time.Duration

	// Rules are those by which the store counts. Reads that fold figures from the facts
	// again need them; nil: none but the policies of its pairs.
	Rules hold.Rules

	Logger Logger // nil: silence

	closeWithin time.Duration // tests wait less; 0: defaultCloseWithin
}

func (c Config) withDefaults() Config {
	fromURL := options.Client().ApplyURI(c.URL)
	setDefault(&c.Database, DefaultDatabase)
	setDefault(&c.OperationTimeout, DefaultOperationTimeout)
	setDefault(&c.Patience, DefaultPatience)
	setDefault(&c.closeWithin, defaultCloseWithin)
	if c.Rules == nil {
		c.Rules = hold.PlainRules(hold.Merge) // which counts a pair by its own policy
	}
	setFrom(&c.PoolMax, fromURL.MaxPoolSize, DefaultPoolMax)
	setFrom(&c.PoolMin, fromURL.MinPoolSize, 0)
	setFrom(&c.ServerSelection, fromURL.ServerSelectionTimeout, DefaultServerSelection)
	setFrom(&c.Connect, fromURL.ConnectTimeout, DefaultConnect)
	return c
}

func setDefault[T comparable](value *T, to T) {
	if *value == *new(T) {
		*value = to
	}
}

func setFrom[T comparable](value, url *T, otherwise T) {
	if url != nil {
		setDefault(value, *url)
	}
	setDefault(value, otherwise)
}

// CheckURL reports whether a URL can be one of a database, and asks no server: of a
// mongodb+srv:// one, whose rest is in the DNS, it looks at the shape alone. Its
// errors have nothing of the URL.
func CheckURL(url string) error {
	const srv = "mongodb+srv://"
	if rest, is := strings.CutPrefix(url, srv); is {
		hosts, _, _ := strings.Cut(rest[strings.LastIndex(rest, "@")+1:], "/")
		if hosts == "" || strings.ContainsAny(hosts, ":,") {
			return errors.New("is not " + srv + "USER:PASSWORD@HOST/")
		}
		return nil
	}
	err := options.Client().ApplyURI(url).Validate()
	var file *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &file):
		return fmt.Errorf("names a file that cannot be read: %w", file.Err)
	}
	return errors.New("is not mongodb://USER:PASSWORD@HOST:PORT/ with options that the driver knows")
}

// CheckDatabase reports whether a name can be one of a database; "" is that of
// [DefaultDatabase].
func CheckDatabase(name string) error {
	switch {
	case len(name) > 63:
		return fmt.Errorf("%q is longer than 63 bytes", name)
	case strings.ContainsAny(name, "/\\. \"$\x00"):
		return fmt.Errorf("%q is no name of a database: it has none of / \\ . \" $ and spaces", name)
	case name == "admin" || name == "config" || name == "local":
		return fmt.Errorf("%q is a database of the server's own", name)
	}
	return nil
}

func (c *Config) check() error {
	switch {
	case !generationName.MatchString(c.Generation):
		return fmt.Errorf("mongo: generation %q is not made of up to 32 letters, digits, '_' and '-'", c.Generation)
	case c.URL == "":
		return errors.New("mongo: no URL (hint: set MONGODB_URL, for example mongodb://localhost:27017)")
	case CheckDatabase(c.Database) != nil:
		return fmt.Errorf("mongo: MONGODB_DB: %w", CheckDatabase(c.Database))
	case c.PoolMin > c.PoolMax:
		return fmt.Errorf("mongo: MONGO_POOL_MIN is %d, above MONGO_POOL_MAX, which is %d", c.PoolMin, c.PoolMax)
	case c.ServerSelection < 0 || c.Connect < 0 || c.OperationTimeout < 0 || c.Patience < 0:
		return errors.New("mongo: a timeout is below zero")
	}
	return nil
}

// client returns the options of the driver.
func (c *Config) client() *options.ClientOptions {
	durable := writeconcern.Majority()
	// A replica set's majority has its journals written anyway; a single server
	// acknowledges up to 100 ms before, unless it is asked for.
	journal := true
	durable.Journal = &journal
	return options.Client().ApplyURI(c.URL).
		SetAppName("holdmetrics").
		SetMaxPoolSize(c.PoolMax).
		SetMinPoolSize(c.PoolMin).
		SetServerSelectionTimeout(c.ServerSelection).
		SetConnectTimeout(c.Connect).
		SetWriteConcern(durable).
		SetReadConcern(readconcern.Local()).
		SetReadPreference(readpref.Primary()).
		SetRetryWrites(true).
		SetRetryReads(true)
}

// collections of a store.
type collections struct {
	events, pairs, stats *driver.Collection
	sealed               *driver.Collection
	checkpoints, meta    *driver.Collection
	// settled is checkpoints, read as a majority has them.
	settled *driver.Collection
}

// Names of the collections, without that of a generation.
const (
	eventsName      = "hold_events"
	pairsName       = "hold_pairs"
	statsName       = "hold_stats"
	sealedName      = "hold_sealed"
	checkpointsName = "checkpoints"
	metaName        = "hold_meta"
)

var generationName = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)

func collectionsOf(db *driver.Database, generation string) collections {
	name := func(of string) string {
		if generation == "" {
			return of
		}
		return of + "_" + generation
	}
	return collections{
		events: db.Collection(name(eventsName)), pairs: db.Collection(name(pairsName)), stats: db.Collection(name(statsName)),
		sealed:      db.Collection(name(sealedName)),
		checkpoints: db.Collection(name(checkpointsName)), meta: db.Collection(name(metaName)),
		settled: db.Collection(name(checkpointsName), options.Collection().SetReadConcern(readconcern.Majority())),
	}
}
