// Package processor is the worker: it reads the event log and keeps the
// projections, one reader a partition.
//
//	read frames ▶ decode ▶ load the pairs not in memory, in one call ▶ add facts ▶ mark dirty ▶ flush / publish
//
// A [Worker] runs the partitions it is given, each in a goroutine of its own
// that owns all of the partition's memory, with a flusher and a publisher
// beside it. Offsets live with the state: a flush writes facts, figures and the
// partition's checkpoint, and a start reads on behind that checkpoint. What was
// read after it is applied again, which changes nothing, because an equal fact
// is the same fact.
//
// # The life of a partition
//
//		             checkpoint read, bucket caught up
//		  Loading ──────────────────────────▶ CatchingUp
//		     │                                    │  the end that the log had at the start is applied
//		     │                                    ▼
//		     │       ctx ends                  Running
//		     │   ┌──────────◀─────────────────────┤
//		     │   ▼                                │
//		     │ Stopped                            │
//		     │                                    │
//		     └───────────▶ Failed ◀───────────────┘
//		   another or shorter log      fenced by a newer owner, damaged store
//
//	  - Loading: reads the checkpoint, and compares it with the log and with what
//	    the snapshot bucket has.
//	  - CatchingUp: applies what the log held when the partition was started, and
//	    then publishes what a crash took from the bucket, or every holder where the
//	    bucket was ahead of the store.
//	  - Running: applies events as they come.
//	  - Stopped: the context ended; what was applied is flushed and published,
//	    or Run returns that it was not, and the next start applies it again.
//	  - Failed: stopped by an error that a retry cannot heal; the other partitions
//	    go on. Errors that may pass, such as a store that is away, fail
//	    nothing: they are tried again with growing pauses while the reader waits.
//
// # Who sees a snapshot first
//
// The one owner of a bucket shows each snapshot to the views in its process before the
// bucket has it, in the order of what it applies; several owners have to wait for their
// fences. See the file show.go.
//
// # Owners that follow one another
//
// With [Config.Ownership] a worker is one of several, and runs the partitions that
// package lease assigns to it. Each owner of a partition goes through the states above,
// between these steps:
//
//	claim the lease ▶ write the fence (epoch) ▶ tell the store (epoch) ▶ Loading … Stopped ▶ release the lease
//
// After the fence is written, the bucket refuses a former owner. After the epoch is
// written, the store does. Before each flush the owner checks by its own clock if its
// lease may have expired. If so, it drops everything: what was not flushed is in the log.
// So a former owner can add at most one flush that was already under way, of messages
// that were in the log before.
//
// # What makes a run repeatable
//
// The same log gives the same stored bytes, whatever the batches, flushes and
// crashes. So everything that is stored follows from the log alone:
//
//   - Log time is the greatest timestamp of the messages so far, so it never
//     steps back, not even where the broker's clock does.
//   - An event counts as applied whether or not its fact was there already, since
//     after a crash it always is.
//   - The figures of a pair are those at the log time of its own last event.
//   - The figures of a holder are the sum of its pairs at the log time of the
//     holder's last event, where its line begins. The line of each pair is taken
//     in the piece that holds at that time: see sum.
package processor
