package main

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
	keyNATSURL        = "nats-url"
	keyNATSMonitor    = "nats-monitor-url"
	keyReplicas       = "replicas"
	keyPartitions     = "partitions"
	keyMongoURL       = "mongodb-url"
	keyMongoDB        = "mongodb-db"
	keyMongoPoolMax   = "mongo-pool-max"
	keyMongoPoolMin   = "mongo-pool-min"
	keyMongoSelection = "mongo-sst-ms"
	keyMongoConnect   = "mongo-connect-ms"
	keyStore          = "store"
	keyWorkerID       = "worker-id"
	keyLease          = "lease"
	keyFlushInterval  = "flush-interval"
	keyMetrics        = "metrics-address"
)

// The stores that a worker can keep.
const (
	storeMongo    = "mongo"
	storeEmbedded = "embedded"
)

// clusterSettings are those of several processes on one NATS cluster.
type clusterSettings struct {
	natsURL        string
	natsMonitor    string // empty: nobody looks
	replicas       int
	partitions     int
	mongo          mongo.Config
	store          string
	workerID       string
	lease          time.Duration
	flushInterval  time.Duration
	metricsAddress string
}

// clusterFlags are those of gateway and worker alike.
func clusterFlags(c *cobra.Command) {
	f := c.Flags()
	f.String(keyNATSURL, "nats://127.0.0.1:4222", "`URL` of the NATS servers; several with commas (NATS_URL)")
	f.String(keyNATSMonitor, "", "monitoring `URL` of a NATS server, to look at how it syncs to disk (NATS_MONITOR_URL; default: nobody looks)")
	f.Int(keyReplicas, 1, "replicas of the log, the buckets and the dead letters when they are made: 3 on a cluster (REPLICAS)")
	f.Int(keyPartitions, ingest.DefaultPartitions, "partitions of the log when it is made; fixed from then on (PARTITIONS)")
	f.String(keyMongoURL, "", "`URL` of the MongoDB database (MONGODB_URL or MONGODB_URI)")
	f.String(keyMongoDB, mongo.DefaultDatabase, "`name` of the database (MONGODB_DB)")
	f.Uint64(keyMongoPoolMax, mongo.DefaultPoolMax, "connections to a MongoDB server at most (MONGO_POOL_MAX)")
	f.Uint64(keyMongoPoolMin, 0, "connections that are kept open (MONGO_POOL_MIN)")
	f.Int(keyMongoSelection, int(mongo.DefaultServerSelection/time.Millisecond), "`milliseconds` that an operation waits for a server that can take it (MONGO_SST_MS)")
	f.Int(keyMongoConnect, int(mongo.DefaultConnect/time.Millisecond), "`milliseconds` that connecting may take (MONGO_CONNECT_MS)")
	f.String(keyLogLevel, "warn", "debug, info, warn or error (LOG_LEVEL)")
	f.String(keyConfig, "", "YAML `file` of settings, named as the flags are (HOLDMETRICS_CONFIG)")
	f.String(keyPprof, "", "loopback `address` that gives profiles of the program at /debug/pprof/ (PPROF_ADDRESS; default: none is opened)")
}

func gatewayFlags(c *cobra.Command) {
	clusterFlags(c)
	f := c.Flags()
	f.String(keyGRPC, "0.0.0.0:60051", "gRPC `address`; port 0 takes a free one (GRPC_ADDRESS)")
	f.String(keyHTTP, "0.0.0.0:8000", "HTTP `address` (HTTP_HOST, HTTP_PORT)")
	limits := hold.DefaultLimits()
	limitFlags(f, &limits)
	f.Lookup(keyMaxClockSkew).Usage += " (MAX_CLOCK_SKEW)"
	f.Lookup(keyMaxFutureEnd).Usage += " (MAX_FUTURE_END)"
}

func workerFlags(c *cobra.Command) {
	clusterFlags(c)
	f := c.Flags()
	f.String(keyStore, storeMongo, "where figures are kept: mongo, or embedded, a store of this worker alone in --data-dir, which no gateway can read (STORE)")
	f.String(keyDataDir, "data", "`directory` of the embedded store (DATA_DIR)")
	f.String(keyPolicy, "", "how overlapping holds of a pair count: merge or sum; fixed when the store is made (POLICY; default merge)")
	f.String(keyRules, "", rulesUsage)
	f.String(keyWorkerID, "", "`name` of this worker, of letters, digits, '-' and '_'; one process at a time (WORKER_ID; default: made of the host's name)")
	run := nanoseconds(lease.DefaultLease)
	f.Var(&run, keyLease, "how long a partition stays with a worker that is not heard of; whole seconds (LEASE)")
	flush := nanoseconds(processor.DefaultFlushInterval)
	f.Var(&flush, keyFlushInterval, "from the first change to its flush to the store (FLUSH_INTERVAL)")
	gc := nanoseconds(processor.DefaultGCInterval)
	f.Var(&gc, keyGCInterval, "how often the pairs in memory are trimmed (GC_INTERVAL)")
	f.String(keyMetrics, "0.0.0.0:9090", "HTTP `address` of /metrics, /healthz, /readyz and /status; port 0 takes a free one (METRICS_ADDRESS, PROMETHEUS_PORT)")
}

// everySetting has the flags of all commands that have settings.
func everySetting() *pflag.FlagSet {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, flags := range []func(*cobra.Command){settingFlags, gatewayFlags, workerFlags} {
		c := &cobra.Command{}
		flags(c)
		all.AddFlagSet(c.Flags())
	}
	return all
}

// parse reads the settings that there are flags for.
func (s *clusterSettings) parse(k *koanf.Koanf, has func(string) bool, bad func(string, error) error) error {
	s.natsURL, s.natsMonitor = k.String(keyNATSURL), k.String(keyNATSMonitor)
	s.metricsAddress, s.workerID, s.store = k.String(keyMetrics), k.String(keyWorkerID), k.String(keyStore)
	s.mongo.URL, s.mongo.Database = k.String(keyMongoURL), k.String(keyMongoDB)
	if !has(keyNATSURL) {
		return nil
	}
	var err error
	if s.natsURL, err = natsServers(s.natsURL); err != nil {
		return bad(keyNATSURL, err)
	}
	if err := checkMonitor(s.natsMonitor); err != nil {
		return bad(keyNATSMonitor, err)
	}
	if s.mongo.URL != "" {
		if err := checkMongoURL(s.mongo.URL); err != nil {
			return bad(keyMongoURL, err)
		}
	}
	if err := mongo.CheckDatabase(s.mongo.Database); err != nil {
		return bad(keyMongoDB, err)
	}
	var selection, connect, poolMax, poolMin int
	for _, n := range []struct {
		key         string
		to          *int
		least, most int
	}{
		{keyReplicas, &s.replicas, 1, 5},
		{keyPartitions, &s.partitions, 1, 1024},
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
	s.mongo.PoolMax, s.mongo.PoolMin = uint64(poolMax), uint64(poolMin)
	s.mongo.ServerSelection, s.mongo.Connect = time.Duration(selection)*time.Millisecond, time.Duration(connect)*time.Millisecond
	if !has(keyStore) {
		return nil
	}
	if s.store != storeMongo && s.store != storeEmbedded {
		return bad(keyStore, fmt.Errorf("%q is not %s or %s", s.store, storeMongo, storeEmbedded))
	}
	if s.lease < lease.Shortest || s.lease%time.Second != 0 {
		return bad(keyLease, fmt.Errorf("%s is not in whole seconds, one or more", s.lease))
	}
	if s.workerID == "" {
		s.workerID = newWorkerID()
	}
	return nil
}

// newWorkerID is the host's name and something that no other process has.
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
