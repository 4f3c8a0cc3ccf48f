// Package gateway is the doors: gRPC and HTTP, for those who send hold events
// and those who read scores.
//
// Every door checks an event with the same rules (hold.Draft.Check, by way of
// the producer) and acknowledges it only when the log has it. Reads come from
// two places: snapshots, kept in memory, for what is current (Stats, GetSnapshot,
// GET /stats), and the store, for exact figures as of any time (Scores,
// GET /stats/{holder}).
//
// Nothing here waits on behalf of another caller: a client that sends or reads
// slowly holds up its own stream, by the transport's flow control, and no other.
//
// A log that is slow slows the clients down, and nothing grows meanwhile: what
// waits for it is bounded in the producer, and for each stream by its lane. A log
// that stalls is told, as RESOURCE_EXHAUSTED or 429 with the time to come back: to
// a single event after RecordWait; to a stream after StreamWait without an answer,
// or as soon as the producer has had no room for it for so long as it allows.
//
// Producers with many events at hand have BroadcastBatch and POST /holds. Both take
// batches whose bad events are refused by themselves; both decode an event from its
// bytes straight into the form that the producer checks and encodes.
//
// The page at / is in web/: plain HTML, CSS and JavaScript modules, sent as they
// are. It reads by the HTTP door as any other client does.
package gateway
