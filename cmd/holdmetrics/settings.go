package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"

	"holdmetrics/hold"
	"holdmetrics/processor"
)

// settings are those of serve, gateway and worker; a command leaves alone what it
// has no flag for. A flag beats the environment, which beats the file (--config),
// which beats the default.
type settings struct {
	dataDir     string
	grpcAddress string
	httpAddress string
	natsAddress string
	policy      hold.Policy
	policyGiven bool // else that of the data directory, or of the store, counts
	rulesFile   string
	limits      hold.Limits
	limitsGiven bool // else a gateway takes those of the log
	gcInterval  time.Duration
	logLevel    zapcore.Level

	pprofAddress string // empty: no profiles

	cluster clusterSettings // of gateway and worker
}

// The keys of the settings, which are the names of their flags.
const (
	keyDataDir      = "data-dir"
	keyGRPC         = "grpc-address"
	keyHTTP         = "http-address"
	keyNATS         = "nats-address"
	keyPolicy       = "policy"
	keyRules        = "rules"
	keyMaxClockSkew = "max-clock-skew"
	keyMaxFutureEnd = "max-future-end"
	keyGCInterval   = "gc-interval"
	keyLogLevel     = "log-level"
	keyPprof        = "pprof-address"
)

// environment is the variable of each setting. HTTP_HOST and HTTP_PORT are put
// together for keyHTTP.
var environment = map[string]string{
	"DATA_DIR":       keyDataDir,
	"GRPC_ADDRESS":   keyGRPC,
	"NATS_ADDRESS":   keyNATS,
	"POLICY":         keyPolicy,
	"RULES":          keyRules,
	"MAX_CLOCK_SKEW": keyMaxClockSkew,
	"MAX_FUTURE_END": keyMaxFutureEnd,
	"GC_INTERVAL":    keyGCInterval,
	"LOG_LEVEL":      keyLogLevel,
	"PPROF_ADDRESS":  keyPprof,

	"NATS_URL":         keyNATSURL,
	"NATS_MONITOR_URL": keyNATSMonitor,
	"REPLICAS":         keyReplicas,
	"PARTITIONS":       keyPartitions,
	"MONGODB_URL":      keyMongoURL,
	"MONGODB_URI":      keyMongoURL,
	"MONGODB_DB":       keyMongoDB,
	"MONGO_POOL_MAX":   keyMongoPoolMax,
	"MONGO_POOL_MIN":   keyMongoPoolMin,
	"MONGO_SST_MS":     keyMongoSelection,
	"MONGO_CONNECT_MS": keyMongoConnect,
	"STORE":            keyStore,
	"WORKER_ID":        keyWorkerID,
	"LEASE":            keyLease,
	"FLUSH_INTERVAL":   keyFlushInterval,
	"METRICS_ADDRESS":  keyMetrics,
}

const (
	defaultHTTPHost = "0.0.0.0"
	defaultHTTPPort = "8000"
)

const rulesUsage = "rules `file` by which scores count when the data is made; later 'holdmetrics rebuild' changes them (RULES; default: the policy alone)"

func settingFlags(c *cobra.Command) {
	f := c.Flags()
	f.String(keyDataDir, "data", "`directory` that keeps the log and the store (DATA_DIR)")
	f.String(keyGRPC, "0.0.0.0:60051", "gRPC `address`; port 0 takes a free one (GRPC_ADDRESS)")
	f.String(keyHTTP, net.JoinHostPort(defaultHTTPHost, defaultHTTPPort), "HTTP `address` (HTTP_HOST, HTTP_PORT)")
	f.String(keyNATS, "127.0.0.1:4222", "NATS `address` for outside clients (NATS_ADDRESS)")
	f.String(keyPolicy, "", "how overlapping holds of a pair count: merge or sum; fixed when the data directory is made (POLICY; default merge)")
	f.String(keyRules, "", rulesUsage)
	limits := hold.DefaultLimits()
	limitFlags(f, &limits)
	f.Lookup(keyMaxClockSkew).Usage += " (MAX_CLOCK_SKEW)"
	f.Lookup(keyMaxFutureEnd).Usage += " (MAX_FUTURE_END)"
	gc := nanoseconds(processor.DefaultGCInterval)
	f.Var(&gc, keyGCInterval, "how often the pairs in memory are trimmed (GC_INTERVAL)")
	f.String(keyLogLevel, "warn", "debug, info, warn or error (LOG_LEVEL)")
	f.String(keyConfig, "", "YAML `file` of settings, named as the flags are (HOLDMETRICS_CONFIG)")
	f.String(keyPprof, "", "loopback `address` that gives profiles of the program at /debug/pprof/ (PPROF_ADDRESS; default: none is opened)")
}

func readSettings(c *cobra.Command) (*settings, error) {
	l, err := loadLayers(c.Flags())
	if err != nil {
		return nil, err
	}
	s, err := parseSettings(l.k, c.Flags())
	if err == nil {
		s.limitsGiven = l.from[keyMaxClockSkew] != fromDefault || l.from[keyMaxFutureEnd] != fromDefault
	}
	return s, err
}

func parseSettings(k *koanf.Koanf, flags *pflag.FlagSet) (*settings, error) {
	has := func(key string) bool { return flags.Lookup(key) != nil }
	s := &settings{
		dataDir:     k.String(keyDataDir),
		grpcAddress: k.String(keyGRPC),
		httpAddress: k.String(keyHTTP),
		natsAddress: k.String(keyNATS),
	}
	s.pprofAddress, s.rulesFile = k.String(keyPprof), k.String(keyRules)
	var err error
	bad := func(key string, err error) error { return usagef("%s: %w", describe(key), err) }
	if s.dataDir == "" && has(keyDataDir) {
		return nil, bad(keyDataDir, fmt.Errorf("is empty"))
	}
	for _, key := range []string{keyGRPC, keyHTTP, keyNATS, keyMetrics} {
		if !has(key) {
			continue
		}
		if _, _, err := net.SplitHostPort(k.String(key)); err != nil {
			return nil, bad(key, fmt.Errorf("%q is not HOST:PORT", k.String(key)))
		}
	}
	if s.pprofAddress != "" {
		if err := checkLoopback(s.pprofAddress); err != nil {
			return nil, bad(keyPprof, err)
		}
	}
	if text := k.String(keyPolicy); text != "" {
		s.policyGiven = true
		if s.policy, err = hold.ParsePolicy(text); err != nil {
			return nil, bad(keyPolicy, err)
		}
		if s.rulesFile != "" {
			return nil, usagef("%s and %s are both given; a rules file has its own default policy", describe(keyRules), describe(keyPolicy))
		}
	}
	for _, d := range []struct {
		key string
		to  *int64
	}{
		{keyMaxClockSkew, &s.limits.MaxClockSkew},
		{keyMaxFutureEnd, &s.limits.MaxFutureEnd},
		{keyGCInterval, (*int64)(&s.gcInterval)},
		{keyLease, (*int64)(&s.cluster.lease)},
		{keyFlushInterval, (*int64)(&s.cluster.flushInterval)},
	} {
		if !has(d.key) {
			continue
		}
		length, err := parseDuration(k.String(d.key))
		if err != nil {
			return nil, bad(d.key, fmt.Errorf("%q: %w", k.String(d.key), err))
		}
		*d.to = int64(length)
	}
	if s.limits == (hold.Limits{}) {
		// Limits that are all zero mean the default to the rooms; a nanosecond is as good as none.
		s.limits.MaxClockSkew = 1
	}
	if err := s.cluster.parse(k, has, bad); err != nil {
		return nil, err
	}
	if s.logLevel, err = zapcore.ParseLevel(k.String(keyLogLevel)); err != nil {
		return nil, bad(keyLogLevel, err)
	}
	return s, nil
}

// describe names a setting by its flag and its variables.
func describe(key string) string {
	var names []string
	for name, of := range environment {
		if of == key {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "--" + key
	}
	slices.Sort(names)
	return "--" + key + " or " + strings.Join(names, " or ")
}
