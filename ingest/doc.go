// Package ingest is the producer side of holdmetrics: the event log and its
// partitions, the forms that an event takes on its way there, and the producer
// that brings it there.
//
// # The log
//
// OpenLog opens, or makes, two streams of a NATS JetStream account: HOLD_EVENTS,
// the log, from which everything else can be rebuilt, and HOLD_DLQ, the
// dead letters. A holder's events all lie in one partition, stored as
// hold.log.<partition>. Which one follows from the holder's subject token
// (SubjectToken, Partition), and the NATS server computes the same for what raw
// producers publish to hold.events.<subject token>.
//
// The log also keeps, by position, how far ahead of the clock times could be
// when a message came in (Log.SetLimits, Log.LimitsAt). Servers and readers judge
// by that, so that a replay decides as the first run did.
//
// # A message of the log
//
// There are three kinds, and a reader tells them apart like this:
//
//	switch {
//	case ingest.IsFrame(data):   // ingest.ReadFrame, and DecodeEvent for each event
//	case ingest.IsJSON(headers): // ingest.DecodeJSON
//	default:                     // ingest.DecodeEvent
//	}
//
// Anyone may publish to NATS, so a reader checks each event (hold.Draft.Check),
// and that its holder belongs to the partition (Partition); what does not fit
// goes to the dead letters (DeadLetters.Publish) with its reason, and the
// reader goes on.
//
// To inspect the log there are Log.Read, Log.Judge, Log.Verify and Log.DeadLetters. Judge
// decides about an event as the processor does. A resolved dead letter
// (DeadLetters.Resolve) leaves a tombstone, and a subject takes one dead letter, so a
// replay does not create it again.
//
// A log can be filled with another one (BeginImport), whose messages keep their
// positions and times. So the time of a message is that of Log.TimeOf; see
// imported.go. Package archive keeps a log in a file.
//
// A raw producer sets no Nats-Msg-Id. The server drops a message whose id it has
// seen in the 100 ms before, even if it is a different event, and that cannot be
// switched off. Nothing needs it: an equal event counts once, whenever it comes.
//
// # The producer
//
// A Producer takes events from many goroutines, and publishes them in frames:
//
//	Record, Send ──check──▶ quota ──▶ partition batcher ──frame──▶ log
//	                         ▲                                         │
//	                         └──────── done(position, err) ◀── PubAck ─┘
//
// A quota limits the events and bytes that wait for the log (MaxPending,
// MaxPendingBytes). A caller without quota waits, and after
// MaxWait it gets ErrBusy. Each batcher has one frame in flight. A single
// event does not wait for others; under load, frames fill.
//
// There are four ways in, and a program needs one Producer, whichever it takes:
//
//	            one event   many events
//	waits       Record      RecordBatch
//	calls back  Send        SendBatch
//
// Record from one goroutine is bound by the log's answer time. For throughput
// call it from many goroutines, or use one of the other three: the frames of a
// batch of thousands are full, and one fsync of the log covers 512 events.
//
// What became of an event is in its error, alone or as the Refusal of a batch:
//
//	nil                      the log has it, at the position that is returned
//	*hold.FieldError         refused; it will be the next time too
//	ErrBusy, ErrClosed       not taken; send it again, later or elsewhere
//	ErrNotAcknowledged       not known; send it again, which is harmless
//
// One bad event never stops its neighbours. Call Close before the end of the
// program: what was sent and not acknowledged is only in memory.
//
// Example shows all of it with a server within the process; with a running one,
// connect to its NATS address (nats.Connect) instead. ExampleProducer_RecordBatch
// and ExampleProducer_Send are the two ways of sending much.
package ingest
