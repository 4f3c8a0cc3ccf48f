package settings

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/processor"
	"holdmetrics/processor/lease"
	"holdmetrics/projection/mongo"
)

// The keys of the settings of gateway and worker.
const (
	KeyNATSURL        = "nats-url"
	KeyNATSMonitor    = "nats-monitor-url"
	KeyReplicas       = "replicas"
	keyPartitions     = "partitions"
	KeyMongoURL       = "mongodb-url"
	keyMongoDB        = "mongodb-db"
	keyMongoPoolMax   = "mongo-pool-max"
	keyMongoPoolMin   = "mongo-pool-min"
	keyMongoSelection = "mongo-sst-ms"
	keyMongoConnect   = "mongo-connect-ms"
	KeyStore          = "store"
	keyWorkerID       = "worker-id"
	keyLease          = "lease"
	keyFlushInterval  = "flush-interval"
)

// The stores that a worker can keep.
const (
	StoreMongo    = "mongo"
	StoreEmbedded = "embedded"
)

// Cluster are the settings of processes that share a NATS cluster.
type Cluster struct {
	NATS          NATS
	NATSMonitor   string // empty: no check
	Replicas      int
	Partitions    int
	Mongo         mongo.Config
	Store         string
	WorkerID      string
	Lease         time.Duration
	FlushInterval time.Duration
}

// clusterFlags are those of gateway and worker alike.
func clusterFlags(c *cobra.Command) {
	f := c.Flags()
	f.String(KeyNATSURL, DefaultNATSURL, "`URL` of the NATS servers; several with commas (NATS_URL)")
	natsFlags(f)
	f.String(KeyNATSMonitor, "", "monitoring `URL` of a NATS server, to check how it syncs to disk (NATS_MONITOR_URL; default: no check)")
	f.Int(KeyReplicas, 1, "replicas of the log, the buckets and the dead letters when they are made: 3 on a cluster (REPLICAS)")
	f.Int(keyPartitions, ingest.DefaultPartitions, "partitions of the log when it is made; fixed from then on (PARTITIONS)")
	f.String(KeyMongoURL, "", "`URL` of the MongoDB database (MONGODB_URL or MONGODB_URI)")
	f.String(keyMongoDB, mongo.DefaultDatabase, "`name` of the database (MONGODB_DB)")
	f.Uint64(keyMongoPoolMax, mongo.DefaultPoolMax, "connections to a MongoDB server at most (MONGO_POOL_MAX)")
	f.Uint64(keyMongoPoolMin, 0, "connections that are kept open (MONGO_POOL_MIN)")
	f.Int(keyMongoSelection, int(mongo.DefaultServerSelection/time.Millisecond), "`milliseconds` that an operation waits for a server that can take it (MONGO_SST_MS)")
	f.Int(keyMongoConnect, int(mongo.DefaultConnect/time.Millisecond), "`milliseconds` that connecting may take (MONGO_CONNECT_MS)")
	logFlags(f)
	telemetryFlags(f)
	f.String(KeyConfig, "", "YAML `file` of settings, named as the flags are (HOLDMETRICS_CONFIG)")
	startFlag(f)
	memoryFlag(f)
	securityFlags(f)
	f.String(KeyPprof, "", "loopback `address` that serves profiles of the program at /debug/pprof/ (PPROF_ADDRESS; default: none)")
}

// GatewayFlags adds the flags of gateway to a command.
func GatewayFlags(c *cobra.Command) {
	clusterFlags(c)
	f := c.Flags()
	f.String(KeyGRPC, defaultGRPC, grpcUsage)
	f.String(KeyHTTP, defaultHTTP, httpUsage)
	accessFlags(f)
	httpFlags(f)
	readingFlags(f)
	gatewayMetricsFlags(f)
	gatewayBoundFlags(f)
	signingFlags(f)
	limits := hold.DefaultLimits()
	LimitFlags(f, &limits)
	f.Lookup(KeyMaxClockSkew).Usage += " (MAX_CLOCK_SKEW)"
	f.Lookup(KeyMaxFutureEnd).Usage += " (MAX_FUTURE_END)"
}

// WorkerFlags adds the flags of worker to a command.
func WorkerFlags(c *cobra.Command) {
	clusterFlags(c)
	f := c.Flags()
	f.String(KeyStore, StoreMongo, "where figures are kept: mongo, or embedded, a store of this worker alone in --data-dir, which no gateway can read (STORE)")
	f.String(KeyDataDir, "data", "`directory` of the embedded store (DATA_DIR)")
	f.String(KeyPolicy, "", "how overlapping holds of a pair count: merge or sum; fixed when the store is made (POLICY; default merge)")
	f.String(keyRules, "", rulesUsage)
	deadLetterFlag(f)
	f.String(keyWorkerID, "", "`name` of this worker, of letters, digits, '-' and '_'; one process at a time (WORKER_ID; default: made of the host's name)")
	run := Duration(lease.DefaultLease)
	f.Var(&run, keyLease, "how long a partition stays with a worker that does not renew its lease; whole seconds (LEASE)")
	flush := Duration(processor.DefaultFlushInterval)
	f.Var(&flush, keyFlushInterval, "from the first change to its flush to the store (FLUSH_INTERVAL)")
	gc := Duration(processor.DefaultGCInterval)
	f.Var(&gc, keyGCInterval, "how often the pairs in memory are trimmed (GC_INTERVAL)")
	f.String(KeyMetrics, DefaultMetricsAddress, "HTTP `address` of /metrics, /healthz, /readyz and /status; port 0 takes a free one (METRICS_ADDRESS, PROMETHEUS_PORT)")
}

// Roles maps each command that has settings to what adds its flags.
var Roles = map[string]func(*cobra.Command){"serve": ServeFlags, "gateway": GatewayFlags, "worker": WorkerFlags}

// All returns the flags of all commands that have settings.
func All() *pflag.FlagSet {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, flags := range []func(*cobra.Command){ServeFlags, GatewayFlags, WorkerFlags} {
		c := &cobra.Command{}
		flags(c)
		all.AddFlagSet(c.Flags())
	}
	return all
}

// parse reads the settings that there are flags for.
func (s *Cluster) parse(k *koanf.Koanf, has func(string) bool, bad func(string, error) error) error {
	s.NATS = NATS{
		URL: k.String(KeyNATSURL), Creds: k.String(KeyNATSCreds), User: k.String(keyNATSUser), Password: k.String(keyNATSPassword),
		Token: k.String(keyNATSToken), CA: k.String(keyNATSCA), Cert: k.String(keyNATSCert), Key: k.String(keyNATSKey),
	}
	s.NATSMonitor = k.String(KeyNATSMonitor)
	s.WorkerID, s.Store = k.String(keyWorkerID), k.String(KeyStore)
	s.Mongo.URL, s.Mongo.Database = k.String(KeyMongoURL), k.String(keyMongoDB)
	if !has(KeyNATSURL) {
		return nil
	}
	var err error
	if s.NATS.URL, err = NATSServers(s.NATS.URL); err != nil {
		return bad(KeyNATSURL, err)
	}
	if key, err := s.NATS.check(); err != nil {
		return bad(key, err)
	}
	if err := checkMonitor(s.NATSMonitor); err != nil {
		return bad(KeyNATSMonitor, err)
	}
	if s.Mongo.URL != "" {
		if err := checkMongoURL(s.Mongo.URL); err != nil {
			return bad(KeyMongoURL, err)
		}
	}
	if err := mongo.CheckDatabase(s.Mongo.Database); err != nil {
		return bad(keyMongoDB, err)
	}
	var selection, connect, poolMax, poolMin int
	for _, n := range []struct {
		key         string
		to          *int
		least, most int
	}{
		{KeyReplicas, &s.Replicas, 1, 5},
		{keyPartitions, &s.Partitions, 1, 1024},
		{keyMongoPoolMax, &poolMax, 1, 1 << 16},
		{keyMongoPoolMin, &poolMin, 0, 1 << 16},
		{keyMongoSelection, &selection, 1, 1 << 30},
		{keyMongoConnect, &connect, 1, 1 << 30},
	} {
		value, err := strconv.Atoi(k.String(n.key))
		if err != nil || value < n.least || value > n.most {
			return bad(n.key, fmt.Errorf("%q is not a whole number from %d to %d", k.String(n.key), n.least, n.most))
		}
		*n.to = value
	}
	s.Mongo.PoolMax, s.Mongo.PoolMin = uint64(poolMax), uint64(poolMin)
	s.Mongo.ServerSelection, s.Mongo.Connect = time.Duration(selection)*time.Millisecond, time.Duration(connect)*time.Millisecond
	if !has(KeyStore) {
		return nil
	}
	if s.Store != StoreMongo && s.Store != StoreEmbedded {
		return bad(KeyStore, fmt.Errorf("%q is not %s or %s", s.Store, StoreMongo, StoreEmbedded))
	}
	if s.Lease < lease.Shortest || s.Lease%time.Second != 0 {
		return bad(keyLease, fmt.Errorf("%s is not in whole seconds, one or more", s.Lease))
	}
	if s.WorkerID == "" {
		s.WorkerID = newWorkerID()
	}
	return nil
}

// newWorkerID returns the host's name with a random suffix.
func newWorkerID() string {
	host, _ := os.Hostname()
	host = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, host)
	return fmt.Sprintf("%.40s-%.8s", host, uuid.NewString())
}
