package processor

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/tracing"
	"holdmetrics/projection"
)

// batch is what one round of reading comes to. Its memory is used again.
type batch struct {
	clock       int64       // log time, up to the message that is decoded
	limits      hold.Limits // of the message that is decoded
	items       []item
	deadLetters []ingest.DeadLetter
	rejected    map[string]uint64 // by reason
	excluded    int               // events of holders whom the rules exclude
	horizon     int64             // up to the message that is decoded; see judged
	judged      []judged          // the items that came under a horizon: the last ones
	refused     int               // of those, the ones that their pairs refused

	deadLetterBytes int

	traced []tracedMessage // those of sampled requests
}

// tracedMessage is a message of a sampled request.
type tracedMessage struct {
	position uint64
	span     *trace.SpanContext
	bytes    int
}

func (b *batch) reset(clock, horizon int64) {
	clear(b.judged)
	clear(b.items)
	*b = batch{clock: clock, horizon: horizon, judged: b.judged[:0], items: b.items[:0], rejected: b.rejected, traced: b.traced[:0]}
	clear(b.rejected)
}

// Estimates of what an event and a pair add to the next flush.
const (
	dirtyEventBytes  = 128 // the fact, kept beside the pair until the flush
	pagedEventBytes  = 32  // the fact in its page
	dirtyPairBytes   = 512
	dirtyHolderBytes = 256
)

// applier decodes the messages of the log and adds the facts of their events to the
// pairs in memory, in batches.
type applier struct {
	*scope
	mem     *memory
	changes *changes
	flush   *flusher
	pub     *publisher
	seals   *sealer
	batch   batch
}

// dirtyEvent is what one more event adds to the next flush.
func (a *applier) dirtyEvent() int {
	if a.paged {
		return pagedEventBytes
	}
	return dirtyEventBytes
}

// process applies the messages of one round. An error means that the partition
// cannot go on: nothing of them was applied, or a pair was lost half-way.
func (a *applier) process(ctx context.Context, messages []message) error {
	if len(messages) == 0 {
		return nil
	}
	a.board.applying()
	began := time.Now()
	b := &a.batch
	b.reset(a.mem.clock, a.mem.horizon)
	a.mem.resetNew()
	if err := a.seals.readSeals(ctx, messages); err != nil {
		return err
	}
	// A message that comes again, or after a later one, was applied. Counted again it
	// would make no score wrong, but the number of events, and a position that steps
	// back would end the partition at its next checkpoint.
	var last *message
	applied, counted := uint64(0), uint64(0)
	for i, at := 0, a.mem.position; i < len(messages); i++ {
		if m := &messages[i]; m.position > at {
			last, at = m, m.position
			a.decode(m)
			if m.span != nil && at > a.mem.tail && m.partition == a.id {
				b.traced = append(b.traced, tracedMessage{at, m.span, len(m.data)})
			}
			if applied++; at <= a.mem.stretch.end {
				counted++
			}
		}
	}
	if last == nil {
		a.mem.settled += uint64(len(messages))
		return nil
	}
	if err := a.mem.load(ctx); err != nil {
		return err
	}
	duplicates := a.add(b.items[:len(b.items)-len(b.judged)])
	duplicates += a.judge(b.items[len(b.items)-len(b.judged):], b.judged)
	if a.lost != nil {
		return a.lost
	}
	a.mem.position, a.mem.clock, a.mem.pending = last.position, b.clock, last.pending
	a.mem.hash = ingest.HashOf(last.at, last.json, last.data)
	a.mem.messages += applied
	a.mem.stretch.counted += counted
	a.mem.events += uint64(len(b.items) - b.refused + b.excluded)
	a.seals.raise(b.horizon)
	a.mem.excluded += uint64(b.excluded)
	rejected := 0
	for _, n := range b.rejected {
		rejected += int(n)
	}
	a.mem.rejected += uint64(rejected)
	a.mem.received += uint64(len(b.items) + b.excluded + rejected)
	a.mem.settled += uint64(len(messages))
	a.trace(began)
	a.sendDeadLetters()
	a.changes.bytes += len(b.items)*a.dirtyEvent() + b.deadLetterBytes
	a.flush.changed()
	a.metrics.batch(b, duplicates, time.Since(began))
	return nil
}

// trace makes the spans of the messages of a round that are of sampled requests. The
// flush and the publish that have them continue these spans.
func (a *applier) trace(began time.Time) {
	for _, m := range a.batch.traced {
		from := tracing.Of(m.span)
		span := a.cfg.Tracer.Start(&from, tracing.Step{Name: "apply hold.log", Kind: trace.SpanKindConsumer, Began: began, Attributes: []attribute.KeyValue{
			tracing.System.String(tracing.NATS), tracing.Destination.String(ingest.LogSubject(a.id)), tracing.PartitionID.String(strconv.Itoa(a.id)),
			tracing.OperationName.String(tracing.OperationApply), tracing.OperationType.String(tracing.TypeProcess), tracing.BodySize.Int(m.bytes),
			tracing.MessageID.String(strconv.FormatUint(m.position, 10)), tracing.Position.Int64(int64(m.position)),
			tracing.Generation.String(a.pub.generation()),
		}})
		span.End(nil)
		a.flush.waiting.Add(m.position, span.Context())
		if a.pub.bucket != nil {
			a.pub.waiting.Add(m.position, span.Context())
		}
	}
}

// add adds the facts of events to their pairs and says how many were there already.
func (a *applier) add(items []item) (duplicates int) {
	var additions [64]hold.Addition
	most := a.cacheBytes + a.cacheBytes/8
	for some := range slices.Chunk(items, len(additions)) {
		for i := range some {
			it := &some[i]
			if it.fact.HoldID != "" {
				it.fact.HoldID = strings.Clone(it.fact.HoldID)
			}
			if !it.pair.touched {
				it.pair.part()
			}
			a.touch(it)
			additions[i] = hold.Addition{Pair: it.pair.state, Fact: it.fact}
		}
		hold.AddAll(additions[:len(some)])
		for i := range some {
			it := &some[i]
			// A fact that is there already marks its pair all the same: after a crash
			// the fact may be in the store without the figures that follow from it.
			switch {
			case !additions[i].New:
				duplicates++
			default:
				a.changes.addFact(it.pair, projection.LoggedFact{Fact: it.fact, Position: it.position, LogTime: it.at})
			}
			a.mem.cache.count(it.pair)
		}
		// Pages that events bring into memory leave it with the batch under way.
		if a.mem.cache.bytes > most {
			var last *pair
			for i := range some {
				if pr := some[i].pair; pr != last && a.mem.cache.bytes > a.cacheBytes {
					a.mem.cache.shrink(pr, a.mem.cache.bytes-a.cacheBytes, a.mem.flushed)
					last = pr
				}
			}
			most = max(most, a.mem.cache.bytes+a.cacheBytes/8)
		}
	}
	return duplicates
}

// touch marks the pair and the holder of an event that was applied.
func (a *applier) touch(it *item) {
	pr, h := it.pair, it.pair.holder
	pr.at, pr.used = it.at, true
	// After a crash a store that is not atomic may hold a holder as it was later
	// than its checkpoint. What readers saw never steps back.
	h.updatedAt, h.position = max(h.updatedAt, it.at), max(h.position, it.position)
	if !pr.touched {
		pr.touched = true
		a.mem.touchedPairs = append(a.mem.touchedPairs, pr)
	}
	if !h.touched {
		h.touched = true
		a.mem.touchedHolders = append(a.mem.touchedHolders, h)
	}
	a.changes.markDirty(pr)
	// What the bucket has already would step back if it was published again.
	if a.pub.bucket != nil && it.position > a.pub.floor {
		a.pub.changed(h, a.mem.reached())
	}
}

// sendDeadLetters starts publishing the batch's dead letters, in bytes of their own:
// the messages they were cut from may be large.
func (a *applier) sendDeadLetters() {
	if len(a.batch.deadLetters) == 0 {
		return
	}
	size := 0
	for i := range a.batch.deadLetters {
		size += len(a.batch.deadLetters[i].Data)
	}
	a.tellDeadLetters()
	out, data := slices.Clone(a.batch.deadLetters), make([]byte, 0, size)
	for i := range out {
		from := len(data)
		data = append(data, out[i].Data...)
		out[i].Data = data[from:len(data):len(data)]
	}
	a.changes.deadLetters.send(a.background, out, a.log.PublishDeadLetters, a.retry)
	clear(a.batch.deadLetters)
}

// tellDeadLetters logs the batch's dead letters by kind, and what one of them is.
func (a *applier) tellDeadLetters() {
	counts := map[string]int{}
	for i := range a.batch.deadLetters {
		counts[a.batch.deadLetters[i].Kind]++
	}
	for kind, n := range counts {
		i := slices.IndexFunc(a.batch.deadLetters, func(d ingest.DeadLetter) bool { return d.Kind == kind })
		position, text := a.batch.deadLetters[i].Sequence, a.batch.deadLetters[i].Reason
		a.controls.tally.Note("dead letters "+kind, n, func() func(int) {
			return func(count int) {
				a.logger.Warn("events became dead letters", zap.String("reason", kind), zap.Int("count", count), zap.Uint64("position", position), zap.String("error", text))
			}
		})
	}
}
