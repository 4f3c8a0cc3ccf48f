package auth

import (
	"maps"
	"slices"
)

// Need is what a call needs of its caller.
type Need uint8

// The needs. The zero value is that of a call without an entry, which is refused.
const (
	Unknown     Need = iota
	Nothing          // nothing: it holds no data, or a probe asks for it
	Known            // a caller who is known, whatever the scopes
	NeedsWrite       // the scope write
	NeedsRead        // the scope read
	NeedsAdmin       // the scope admin
	Local            // of a command: files of this machine alone
	Process          // of a command: it is a server itself
	NeedsBroker      // of a command: NATS, with the credentials of an operator
)

// needNames are the needs in the words of documents and messages.
var needNames = map[Need]string{
	Unknown: "unknown", Nothing: "nothing", Known: "any key", NeedsWrite: "write", NeedsRead: "read", NeedsAdmin: "admin",
	Local: "no server", Process: "none: it is a server", NeedsBroker: "NATS as an operator",
}

// String returns the need in words.
func (n Need) String() string { return needNames[n] }

// scope returns the scope that the need is.
func (n Need) scope() Scope {
	switch n {
	case NeedsWrite:
		return Write
	case NeedsRead:
		return Read
	case NeedsAdmin:
		return Admin
	}
	return 0
}

// methods are the needs of the methods of gRPC.
var methods = map[string]Need{
	"/poh.HoldMetrics/Broadcast":      NeedsWrite,
	"/poh.HoldMetrics/BroadcastBatch": NeedsWrite,
	"/poh.HoldMetrics/Record":         NeedsWrite,
	"/poh.HoldMetrics/Stats":          NeedsRead,

	"/poh.HoldMetricsQuery/Explain":       NeedsRead,
	"/poh.HoldMetricsQuery/Compare":       NeedsRead,
	"/poh.HoldMetricsQuery/GetCheckpoint": NeedsRead,
	"/poh.HoldMetricsQuery/GetSnapshot":   NeedsRead,
	"/poh.HoldMetricsQuery/HealthCheck":   Nothing,
	"/poh.HoldMetricsQuery/History":       NeedsRead,
	"/poh.HoldMetricsQuery/Prove":         NeedsRead,
	"/poh.HoldMetricsQuery/Rank":          NeedsRead,
	"/poh.HoldMetricsQuery/Scores":        NeedsRead,
	"/poh.HoldMetricsQuery/Status":        NeedsRead,
	"/poh.HoldMetricsQuery/Top":           NeedsRead,

	"/grpc.health.v1.Health/Check": Nothing,
	"/grpc.health.v1.Health/List":  Nothing,
	"/grpc.health.v1.Health/Watch": Known, // it stays open

	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      Known,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Known,
}

// routes are the needs of the paths of HTTP, by the patterns of the server's mux.
var routes = map[string]Need{
	"POST /hold":  NeedsWrite,
	"POST /holds": NeedsWrite,

	"GET /scores":                 NeedsRead,
	"GET /stats":                  NeedsRead,
	"GET /stats/watch":            NeedsRead,
	"GET /stats/{holder}":         NeedsRead,
	"GET /stats/{holder}/history": NeedsRead,
	"GET /stats/{holder}/holds":   NeedsRead,
	"GET /stats/{holder}/rank":    NeedsRead,
	"GET /status":                 NeedsRead,
	"GET /top":                    NeedsRead,

	"GET /audit/checkpoint":  NeedsRead,
	"GET /audit/consistency": NeedsRead,
	"GET /audit/key":         NeedsRead,
	"GET /audit/proof":       NeedsRead,

	"GET /metrics": NeedsAdmin,
	"/log/level":   NeedsAdmin, // by any method

	"GET /healthz": Nothing,
	"GET /readyz":  Nothing,

	// The page and the documents are the same for everybody.
	"GET /{$}":          Nothing,
	"GET /docs":         Nothing,
	"GET /openapi.json": Nothing,
	"GET /redoc":        Nothing,
	"GET /web/":         Nothing, // all below it
}

// commands are the needs of the commands, by their path behind the program's name.
var commands = map[string]Need{
	"config":      Local,
	"man":         Local,
	"version":     Local,
	"healthcheck": Nothing,

	"audit":            Local,
	"audit check":      Local,
	"audit checkpoint": NeedsRead,
	"audit follow":     Local,
	"audit keygen":     Local,
	"audit proof":      NeedsRead,
	"audit verify":     Local,
	"audit witness":    NeedsRead,

	"serve":   Process,
	"gateway": Process,
	"worker":  Process,

	"import":           NeedsWrite,
	"import balances":  NeedsWrite,
	"import events":    NeedsWrite,
	"import transfers": NeedsWrite,
	"record":           NeedsWrite,

	"explain": NeedsRead,
	"stats":   NeedsRead,
	"status":  NeedsRead,
	"top":     NeedsRead,

	"score":           Local,
	"score balances":  Local,
	"score events":    Local,
	"score transfers": Local,
	"rules":           Local,
	"rules check":     Local,
	"rules diff":      Local,

	"log":                NeedsBroker,
	"log export":         NeedsBroker,
	"log import":         NeedsBroker,
	"log repair":         NeedsBroker,
	"log verify":         NeedsBroker,
	"dlq":                NeedsBroker,
	"dlq drop":           NeedsBroker,
	"dlq list":           NeedsBroker,
	"dlq retry":          NeedsBroker,
	"dlq show":           NeedsBroker,
	"generations":        NeedsBroker,
	"generations repair": NeedsBroker,
	"generations show":   NeedsBroker,
	"activate":           NeedsBroker,
	"drop":               NeedsBroker,
	"rebuild":            NeedsBroker,
	"rollback":           NeedsBroker,
	"verify":             NeedsBroker,
	"seal":               NeedsBroker,
	"backup":             NeedsBroker,
	"backup verify":      Local,
	"restore":            NeedsBroker,
	"login":              Nothing,
	"logout":             Local,
	"profiles":           Local,

	"nats-creds":        Local,
	"nats-creds create": Local,
	"nats-creds grants": Local,
	"nats-creds list":   Local,
	"nats-creds revoke": Local,

	"keys":        NeedsBroker,
	"keys create": NeedsBroker,
	"keys list":   NeedsBroker,
	"keys revoke": NeedsBroker,
	"audit-log":   NeedsBroker,
}

// MethodNeed returns what a method of gRPC needs, by its full name such as
// /poh.HoldMetrics/Record.
func MethodNeed(method string) Need { return methods[method] }

// RouteNeed returns what a path of HTTP needs, by the pattern of the server's mux.
func RouteNeed(pattern string) Need {
	if need := routes[pattern]; need != Unknown {
		return need
	}
	if len(pattern) > len(below) && pattern[:len(below)] == below {
		return routes[below]
	}
	return Unknown
}

// below is the pattern that stands for all that begins with it.
const below = "GET /web/"

// CommandNeed returns what a command needs, by its path without the program's name, such as
// "log export".
func CommandNeed(path string) Need { return commands[path] }

// Methods returns the methods that have an entry, in order.
func Methods() []string { return slices.Sorted(maps.Keys(methods)) }

// Routes returns the patterns that have an entry, in order.
func Routes() []string { return slices.Sorted(maps.Keys(routes)) }

// Commands returns the commands that have an entry, in order.
func Commands() []string { return slices.Sorted(maps.Keys(commands)) }
