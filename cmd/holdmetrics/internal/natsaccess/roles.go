// Package natsaccess says who may do what over NATS: the roles of outside users, their
// credentials in a data directory, and how the embedded server checks them.
//
// The connections of the process itself go through memory and may do everything. All
// others are users of a role. Producers and readers have an account each, apart from
// that of the log: a request that crosses accounts gets its answer at an address of the
// server's own, so that nobody can have an answer, or the messages of a consumer, stored
// in the log or in a bucket by naming a subject of theirs.
package natsaccess

import (
	"slices"

	"holdmetrics/gateway/auth/auditlog"
	"holdmetrics/gateway/auth/keys"
	"holdmetrics/ingest"
	"holdmetrics/ingest/transparency"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
)

// Role is what a user of NATS is there for.
type Role string

// The roles. Serve has users of the first three. All are those of a NATS cluster that
// gateways and workers share.
const (
	Producer Role = "producer" // publishes events
	Reader   Role = "reader"   // reads snapshots
	Operator Role = "operator" // runs the commands
	Gateway  Role = "gateway"
	Worker   Role = "worker"
	Exporter Role = "exporter" // watches the streams
)

// Roles returns all roles.
func Roles() []Role { return []Role{Producer, Reader, Operator, Gateway, Worker, Exporter} }

// Grant is what the users of a role may do.
type Grant struct {
	// Services and Streams are the subjects of the account of the log that a role with an
	// account of its own may send requests to, and may subscribe to. A role without any
	// is in the account of the log.
	Services, Streams []string
	// Publish and Subscribe are the subjects that its users may use, less those of
	// DenyPublish.
	Publish, Subscribe, DenyPublish []string
}

// IsApart reports whether the users have an account of their own.
func (g *Grant) IsApart() bool { return len(g.Services) > 0 }

const (
	api   = "$JS.API."
	inbox = "_INBOX.>"
	kv    = "$KV."
)

// metaStream is the stream of the records of the generations.
const metaStream = "KV_" + generation.Bucket

// proofStream is the stream of the checkpoints of the log.
const proofStream = "KV_" + transparency.Bucket

// fixed are the streams that every process uses, beside those of the generations.
func fixed() []string { return []string{ingest.StreamName, ingest.DeadLetterStream, metaStream} }

// apis returns subjects of the JetStream API.
func apis(subjects ...string) []string {
	for i, s := range subjects {
		subjects[i] = api + s
	}
	return subjects
}

// statsServices are the requests by which the snapshots of a generation are read.
func statsServices(name string) []string {
	stream := "KV_" + projection.BucketName(name)
	return apis("STREAM.INFO."+stream, "STREAM.MSG.GET."+stream, "DIRECT.GET."+stream, "DIRECT.GET."+stream+".>")
}

// reading is what a process needs to read streams: to look at them, to fetch messages, and
// to have consumers. Patterns of subjects match whole tokens, so that no pattern matches
// the streams of all generations, KV_HOLD_STATS_1 among them, and no others.
func reading() []string {
	return append(apis("INFO", "STREAM.INFO.*", "STREAM.MSG.GET.*", "DIRECT.GET.*", "DIRECT.GET.*.>",
		"CONSUMER.CREATE.*", "CONSUMER.CREATE.*.>", "CONSUMER.INFO.*.*", "CONSUMER.DELETE.*.*", "CONSUMER.MSG.NEXT.*.*"),
		"$JS.FC.>")
}

// GrantOf returns what the users of a role may do while these generations are there.
func GrantOf(role Role, generations ...string) Grant {
	switch role {
	case Producer:
		return Grant{
			// Other subjects are no stream's, and a request to one says so: "no responders".
			Services: []string{ingest.RawSubjectPrefix + "*"},
			Publish:  []string{ingest.RawSubjectPrefix + ">"}, Subscribe: []string{inbox},
		}
	case Reader:
		g := Grant{Subscribe: []string{inbox}}
		for _, name := range generations {
			g.Services = append(g.Services, statsServices(name)...)
			g.Streams = append(g.Streams, kv+projection.BucketName(name)+".>")
		}
		g.Publish, g.Subscribe = g.Services, append(g.Subscribe, g.Streams...)
		return g
	case Exporter:
		services := apis("INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.*", "CONSUMER.NAMES.*", "CONSUMER.LIST.*", "CONSUMER.INFO.*.*")
		return Grant{Services: services, Publish: services, Subscribe: []string{inbox}}
	case Gateway:
		return Grant{
			Publish: slices.Concat(reading(), creating(fixed()...), creating(gatewayStreams()...), creating("KV_"+projection.BucketName(generation.First)), []string{
				kv + keys.Bucket + ".used.*", "hold.audit.refusal", // and no key, and no act
				"hold.log.*", "hold.applied.>",
				kv + transparency.Bucket + ".>",
				kv + generation.Bucket + ".>", // that it runs, and what it has prepared
				kv + "*._read.mark",           // a reader's own message; see projection
			}),
			Subscribe: []string{inbox, "hold.audit.act"},
		}
	case Worker:
		return Grant{
			Publish: slices.Concat(reading(), apis("STREAM.CREATE.*", "STREAM.UPDATE.*", "STREAM.DELETE.*", "STREAM.PURGE.*"), []string{
				"hold.dlq.>", "hold.applied.>",
				kv + ">", // the records, and the snapshots and leases of all generations
				inbox,    // answers to gateways and commands
			}),
			DenyPublish: withoutHistory(),
			Subscribe:   []string{inbox, "hold.ctl.read.>", "hold.applied.>"},
		}
	case Operator:
		return Grant{
			Publish: []string{api + ">", "$JS.FC.>", "$JS.ACK.>", "$JS.SNAPSHOT.>", kv + generation.Bucket + ".>", kv + keys.Bucket + ".>", "hold.>", inbox,
				kv + transparency.Bucket + ".>", kv + "*._read.mark"}, // as a gateway does that changes the log
			Subscribe: []string{inbox, "hold.log.*", "hold.audit.act"},
		}
	}
	return Grant{}
}

// creating are the requests that make streams.
func creating(streams ...string) (subjects []string) {
	for _, s := range streams {
		subjects = append(subjects, api+"STREAM.CREATE."+s)
	}
	return subjects
}

// withoutHistory are the requests that change the log, or delete what cannot be made
// again.
func withoutHistory() (subjects []string) {
	subjects = append(subjects, apis("STREAM.UPDATE."+ingest.StreamName, "STREAM.UPDATE."+metaStream)...)
	for _, s := range append(fixed(), gatewayStreams()...) {
		subjects = append(subjects, apis("STREAM.DELETE."+s, "STREAM.PURGE."+s)...)
	}
	for _, s := range gatewayStreams() {
		subjects = append(subjects, apis("STREAM.CREATE."+s, "STREAM.UPDATE."+s)...)
	}
	return append(subjects, kv+keys.Bucket+".>", kv+transparency.Bucket+".>")
}

// gatewayStreams are the streams of the keys, of the audit log and of the checkpoints,
// which gateways make.
func gatewayStreams() []string { return []string{"KV_" + keys.Bucket, auditlog.Stream, proofStream} }
