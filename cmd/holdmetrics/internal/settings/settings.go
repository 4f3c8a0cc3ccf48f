// Package settings reads the settings of serve, gateway and worker from flags, the
// environment, a YAML file and defaults, in this order.
package settings

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"

	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/hold"
	"holdmetrics/processor"
)

// Settings are those of serve, gateway and worker. A command ignores the settings
// that it has no flag for. A flag beats the environment, which beats the file
// (--config), which beats the default.
type Settings struct {
	DataDir      string
	GRPCAddress  string
	HTTPAddress  string
	NATSAddress  string
	Anonymous    bool   // clients of NATS without credentials may publish events, on loopback
	RuntimeDir   string // where programs of this user find one another; empty: nowhere
	Policy       hold.Policy
	PolicyGiven  bool // else that of the data directory, or of the store, counts
	RulesFile    string
	Limits       hold.Limits
	LimitsGiven  bool // else a gateway takes those of the log
	GCInterval   time.Duration
	LogLevel     zapcore.Level
	LogFormat    printing.Format
	StartTimeout time.Duration // 0: no limit

	PprofAddress string // empty: no profiles

	SigningKey         string // file; empty: no checkpoints are signed
	CheckpointInterval time.Duration

	CORSOrigins []string // whose pages may read by HTTP
	HTTPNames   []string // by which clients reach the HTTP server
	Lenient     bool     // ignore fields of events in JSON that no event has

	Telemetry Telemetry // where traces, metrics and lines of the log are sent

	Bounds Bounds

	Security Security
	Access   Access

	Metrics Metrics

	Reads   query.Bounds // of what reads may ask
	Watches watch.Bounds // of what may be watched

	Cluster Cluster // of gateway and worker
}

// The keys of the settings, which are the names of their flags.
const (
	KeyDataDir      = "data-dir"
	KeyGRPC         = "grpc-address"
	KeyHTTP         = "http-address"
	KeyNATS         = "nats-address"
	KeyAnonymous    = "nats-anonymous"
	KeyPolicy       = "policy"
	keyRules        = "rules"
	KeyMaxClockSkew = "max-clock-skew"
	KeyMaxFutureEnd = "max-future-end"
	keyGCInterval   = "gc-interval"
	keyLogLevel     = "log-level"
	keyLogFormat    = "log-format"
	KeyPprof        = "pprof-address"
	KeyStartTimeout = "start-timeout"
)

// Environment maps each environment variable to its setting. HTTP_HOST and HTTP_PORT
// together make [KeyHTTP], and PROMETHEUS_PORT is the port of [KeyMetrics].
var Environment = map[string]string{
	"DATA_DIR":       KeyDataDir,
	"GRPC_ADDRESS":   KeyGRPC,
	"NATS_ADDRESS":   KeyNATS,
	"NATS_ANONYMOUS": KeyAnonymous,
	"POLICY":         KeyPolicy,
	"RULES":          keyRules,
	"MAX_CLOCK_SKEW": KeyMaxClockSkew,
	"MAX_FUTURE_END": KeyMaxFutureEnd,
	"GC_INTERVAL":    keyGCInterval,

	"SIGNING_KEY":         KeySigningKey,
	"CHECKPOINT_INTERVAL": keyCheckpointInterval,

	"LOG_LEVEL":        keyLogLevel,
	"LOG_FORMAT":       keyLogFormat,
	"OTLP_ENDPOINT":    KeyOTLP,
	"COLLECT_INTERVAL": keyCollectEvery,
	"PPROF_ADDRESS":    KeyPprof,
	"START_TIMEOUT":    KeyStartTimeout,
	"CORS_ORIGIN":      keyCORSOrigin,
	"HTTP_NAMES":       keyHTTPNames,
	"LENIENT":          keyLenient,

	"MAX_READS":                keyReads,
	"MAX_READS_CLIENT":         keyReadsEach,
	"READ_WAIT":                keyReadWait,
	"MAX_HISTORY_COST":         keyHistoryCost,
	"MAX_WATCHES":              keyWatches,
	"MAX_WATCHES_CLIENT":       keyWatchesEach,
	"MAX_WATCHED_NAMES":        keyNames,
	"MAX_WATCHED_NAMES_CLIENT": keyNamesEach,

	"MEMORY_LIMIT":       KeyMemoryLimit,
	"DEAD_LETTER_BYTES":  KeyDeadLetterBytes,
	"MAX_CONNECTIONS":    KeyConnections,
	"MAX_BODIES":         KeyBodies,
	"MAX_UNPACK_RATIO":   KeyUnpackRatio,
	"MAX_UNPACKED_BYTES": KeyUnpackedBytes,
	"NATS_MEMORY_BYTES":  KeyNATSMemory,
	"MIN_FREE":           KeyMinFree,
	"NATS_CONNECTIONS":   KeyNATSConnections,

	"TLS_CERT":      KeyTLSCert,
	"TLS_KEY":       KeyTLSKey,
	"TLS_CLIENT_CA": KeyTLSClientCA,
	"AUTH":          KeyAuth,

	"JWT_ISSUER":        keyJWTIssuer,
	"JWT_JWKS_FILE":     KeyJWTKeysFile,
	"JWT_AUDIENCE":      keyJWTAudience,
	"JWT_CLOCK_SKEW":    keyJWTSkew,
	"JWT_SCOPE_CLAIM":   keyJWTScopeClaim,
	"JWT_TOKENS_CLAIM":  keyJWTTokensClaim,
	"JWT_HOLDERS_CLAIM": keyJWTHoldersClaim,
	"TLS_CLIENT_SCOPES": keyClientScopes,

	"INSECURE": KeyInsecure,

	"NATS_URL":         KeyNATSURL,
	"NATS_CREDS":       KeyNATSCreds,
	"NATS_USER":        keyNATSUser,
	"NATS_PASSWORD":    keyNATSPassword,
	"NATS_TOKEN":       keyNATSToken,
	"NATS_TLS_CA":      keyNATSCA,
	"NATS_TLS_CERT":    keyNATSCert,
	"NATS_TLS_KEY":     keyNATSKey,
	"NATS_MONITOR_URL": KeyNATSMonitor,
	"REPLICAS":         KeyReplicas,
	"PARTITIONS":       keyPartitions,
	"MONGODB_URL":      KeyMongoURL,
	"MONGODB_URI":      KeyMongoURL,
	"MONGODB_DB":       keyMongoDB,
	"MONGO_POOL_MAX":   keyMongoPoolMax,
	"MONGO_POOL_MIN":   keyMongoPoolMin,
	"MONGO_SST_MS":     keyMongoSelection,
	"MONGO_CONNECT_MS": keyMongoConnect,
	"STORE":            KeyStore,
	"WORKER_ID":        keyWorkerID,
	"LEASE":            keyLease,
	"FLUSH_INTERVAL":   keyFlushInterval,

	"METRICS_ADDRESS":  KeyMetrics,
	"METRICS_BY_TOKEN": KeyMetricsByToken,
}

// The addresses of the servers. Only this machine can reach them; 0.0.0.0 opens them.
const (
	defaultGRPC = "127.0.0.1:60051"
	defaultHTTP = "127.0.0.1:8000"

	grpcUsage = "gRPC `address`; 0.0.0.0:60051 is every address of the machine, port 0 takes a free one (GRPC_ADDRESS)"
	httpUsage = "HTTP `address`; 0.0.0.0:8000 is every address of the machine (HTTP_HOST, HTTP_PORT)"
)

// logFlags adds the flags of the log.
func logFlags(f *pflag.FlagSet) {
	f.String(keyLogLevel, "info", "debug, info, warn, error or critical, which logs errors too; it can be changed while the process runs (LOG_LEVEL)")
	f.String(keyLogFormat, string(printing.Console), "lines of the log: console, for people, or json (LOG_FORMAT)")
}

const rulesUsage = "rules `file` by which scores count when the data is made; later 'holdmetrics rebuild' changes them (RULES; default: the policy alone)"

// ServeFlags adds the flags of serve to a command.
func ServeFlags(c *cobra.Command) {
	f := c.Flags()
	f.String(KeyDataDir, "data", "`directory` that keeps the log and the store (DATA_DIR)")
	f.String(KeyGRPC, defaultGRPC, grpcUsage)
	f.String(KeyHTTP, defaultHTTP, httpUsage)
	securityFlags(f)
	accessFlags(f)
	httpFlags(f)
	readingFlags(f)
	gatewayMetricsFlags(f)
	f.String(KeyNATS, "127.0.0.1:4222", "NATS `address` for outside clients (NATS_ADDRESS)")
	f.Bool(KeyAnonymous, true, "let clients of NATS without credentials publish events, where --nats-address is a loopback address (NATS_ANONYMOUS)")
	f.String(KeyPolicy, "", "how overlapping holds of a pair count: merge or sum; fixed when the data directory is made (POLICY; default merge)")
	f.String(keyRules, "", rulesUsage)
	limits := hold.DefaultLimits()
	LimitFlags(f, &limits)
	f.Lookup(KeyMaxClockSkew).Usage += " (MAX_CLOCK_SKEW)"
	f.Lookup(KeyMaxFutureEnd).Usage += " (MAX_FUTURE_END)"
	gc := Duration(processor.DefaultGCInterval)
	f.Var(&gc, keyGCInterval, "how often the pairs in memory are trimmed (GC_INTERVAL)")
	logFlags(f)
	telemetryFlags(f)
	f.String(KeyConfig, "", "YAML `file` of settings, named as the flags are (HOLDMETRICS_CONFIG)")
	startFlag(f)
	memoryFlag(f)
	deadLetterFlag(f)
	gatewayBoundFlags(f)
	signingFlags(f)
	brokerFlags(f)
	minFreeFlag(f)
	f.String(KeyPprof, "", "loopback `address` that serves profiles of the program at /debug/pprof/ (PPROF_ADDRESS; default: none)")
}

// DefaultStartTimeout is the time limit of a start.
const DefaultStartTimeout = 10 * time.Minute

// startFlag adds the flag for the time limit of a start.
func startFlag(f *pflag.FlagSet) {
	limit := Duration(DefaultStartTimeout)
	f.Var(&limit, KeyStartTimeout, "how long a start may wait for what it needs; 0: no limit (START_TIMEOUT)")
}

// LimitFlags adds the flags for how far ahead of the clock events may reach.
func LimitFlags(f *pflag.FlagSet, limits *hold.Limits) {
	f.Var((*Duration)(&limits.MaxClockSkew), "max-clock-skew", "how far ahead of the clock a start may be")
	f.Var((*Duration)(&limits.MaxFutureEnd), "max-future-end", "how far ahead of the clock an end may be; raise it for locks and vesting")
}

// Read reads the settings of a command whose flags are parsed.
func Read(c *cobra.Command) (*Settings, error) {
	l, err := Load(c)
	if err != nil {
		return nil, err
	}
	s, err := Parse(l.Values, c.Flags())
	if err == nil && c.Flags().Lookup(KeyOTLP) != nil {
		s.Telemetry, err = readTelemetry(EnvironmentOf(c), l.Values.String(KeyOTLP), l.Values.String(keyCollectEvery))
	}
	if err == nil {
		s.RuntimeDir = RuntimeDir(EnvironmentOf(c))
		s.LimitsGiven = l.From[KeyMaxClockSkew] != FromDefault || l.From[KeyMaxFutureEnd] != FromDefault
	}
	return s, err
}

// Parse checks the values that flags exist for and returns them as Settings.
func Parse(k *koanf.Koanf, flags *pflag.FlagSet) (*Settings, error) {
	has := func(key string) bool { return flags.Lookup(key) != nil }
	s := &Settings{
		DataDir:     k.String(KeyDataDir),
		GRPCAddress: k.String(KeyGRPC),
		HTTPAddress: k.String(KeyHTTP),
		NATSAddress: k.String(KeyNATS),
	}
	s.PprofAddress, s.RulesFile, s.SigningKey = k.String(KeyPprof), k.String(keyRules), k.String(KeySigningKey)
	var err error
	bad := func(key string, err error) error { return usage.Errorf("%s: %w", Describe(key), err) }
	if s.DataDir == "" && has(KeyDataDir) {
		return nil, bad(KeyDataDir, fmt.Errorf("is empty"))
	}
	for _, key := range []string{KeyGRPC, KeyHTTP, KeyNATS} {
		if !has(key) {
			continue
		}
		if _, _, err := net.SplitHostPort(k.String(key)); err != nil {
			return nil, bad(key, fmt.Errorf("%q is not HOST:PORT", k.String(key)))
		}
	}
	if has(KeyAnonymous) {
		if s.Anonymous, err = strconv.ParseBool(k.String(KeyAnonymous)); err != nil {
			return nil, bad(KeyAnonymous, fmt.Errorf("%q is not true or false", k.String(KeyAnonymous)))
		}
	}
	if s.PprofAddress != "" {
		if err := CheckLoopback(s.PprofAddress); err != nil {
			return nil, bad(KeyPprof, err)
		}
	}
	if text := k.String(KeyPolicy); text != "" {
		s.PolicyGiven = true
		if s.Policy, err = hold.ParsePolicy(text); err != nil {
			return nil, bad(KeyPolicy, err)
		}
		if s.RulesFile != "" {
			return nil, usage.Errorf("%s and %s are both given; a rules file has its own default policy", Describe(keyRules), Describe(KeyPolicy))
		}
	}
	for _, d := range []struct {
		key string
		to  *int64
	}{
		{KeyMaxClockSkew, &s.Limits.MaxClockSkew},
		{KeyMaxFutureEnd, &s.Limits.MaxFutureEnd},
		{keyGCInterval, (*int64)(&s.GCInterval)},
		{keyCheckpointInterval, (*int64)(&s.CheckpointInterval)},
		{KeyStartTimeout, (*int64)(&s.StartTimeout)},
		{keyLease, (*int64)(&s.Cluster.Lease)},
		{keyFlushInterval, (*int64)(&s.Cluster.FlushInterval)},
	} {
		if !has(d.key) {
			continue
		}
		length, err := ParseDuration(k.String(d.key))
		if err != nil {
			return nil, bad(d.key, fmt.Errorf("%q: %w", k.String(d.key), err))
		}
		*d.to = int64(length)
	}
	if s.Limits == (hold.Limits{}) {
		// Limits that are all zero mean the default to the packages below; a nanosecond is as good as none.
		s.Limits.MaxClockSkew = 1
	}
	if err := s.parseHTTP(k, has, bad); err != nil {
		return nil, err
	}
	if err := s.Bounds.parse(k, has, bad); err != nil {
		return nil, err
	}
	if err := s.Security.parse(k, has, bad); err != nil {
		return nil, err
	}
	if err := s.Metrics.parse(k, has, bad); err != nil {
		return nil, err
	}
	if err := s.Access.parse(k, has, bad); err != nil {
		return nil, err
	}
	if err := s.parseReading(k, has, bad); err != nil {
		return nil, err
	}
	if err := s.Cluster.parse(k, has, bad); err != nil {
		return nil, err
	}
	if s.LogLevel, err = parseLogLevel(k.String(keyLogLevel)); err != nil {
		return nil, bad(keyLogLevel, err)
	}
	if s.LogFormat = printing.Format(k.String(keyLogFormat)); has(keyLogFormat) && s.LogFormat != printing.Console && s.LogFormat != printing.JSON {
		return nil, bad(keyLogFormat, fmt.Errorf("%q is not %s or %s", s.LogFormat, printing.Console, printing.JSON))
	}
	return s, nil
}

// parseLogLevel parses the name of a level, in any case. It takes the names of Python's
// logging too: warning is warn, and critical is error, since nothing is logged above it.
func parseLogLevel(text string) (zapcore.Level, error) {
	switch strings.ToLower(text) {
	case "warning":
		return zapcore.WarnLevel, nil
	case "critical":
		return zapcore.ErrorLevel, nil
	}
	return zapcore.ParseLevel(text)
}

// CheckLoopback returns an error unless only this machine can reach the address:
// profiles show what is in memory, and taking one costs time.
func CheckLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not a loopback address (127.0.0.1, ::1 or localhost)", host)
	}
	return nil
}

// Describe returns the names of a setting: its flag and its variables.
func Describe(key string) string {
	var names []string
	for name, of := range Environment {
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
