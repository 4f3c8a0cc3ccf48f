// Package gateway assembles the servers of the gRPC and the HTTP API, for clients that
// send hold events and for those that read scores:
//
//	grpcapi, httpapi   the two APIs
//	intake             events on their way into the log
//	query              reads: scores, explanations, histories, rankings, status
//	watch              reads that go on: snapshots and what changes
//	failure            what an error means to a client
//	web                the page at /
//
// A gateway answers from one generation of the projections, and can be switched to
// another one while it serves ([Gateway.Prepare], [Gateway.Switch]).
//
// Every endpoint checks an event by the same rules (hold.Draft.Check, by way of the
// producer) and acknowledges it only when the log has it. Reads come from two places:
// snapshots, kept in memory, for what is current, and the store, for exact figures as
// of any time.
//
// No request waits on behalf of another one: a client that sends or reads slowly holds
// up its own stream, by the flow control of the transport, and no other.
//
// A slow log slows the clients down, and nothing grows meanwhile: events that wait for
// it are bounded in the producer, and for each stream by its reply queue. A log that
// stalls is reported as RESOURCE_EXHAUSTED or 429, with the time to come back: to a
// single event after RecordWait; to a stream after StreamWait without an answer, or
// as soon as the producer has had no quota for it for too long.
//
// Producers with many events at hand have BroadcastBatch and POST /holds. Both refuse
// bad events one by one. Both decode an event from its bytes straight into the form
// that the producer checks and encodes.
package gateway
