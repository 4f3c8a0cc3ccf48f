package processor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

// held is an ended hold of a holder whose name is its partition's by chance.
func held(holder, token string, start, end int64) hold.Draft {
	return hold.Draft{Holder: holder, Token: token, Start: hold.StampOf(start), End: hold.StampOf(end)}
}

// holderOf is a holder of a partition.
func holderOf(partition, partitions, n int) string {
	for i := 0; ; i++ {
		name := fmt.Sprintf("holder-%d-%d", n, i)
		if ingest.Partition(name, partitions) == partition {
			return name
		}
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	log := newMemLog(2)
	here, there := holderOf(0, 2, 1), holderOf(1, 2, 1)
	good := held(here, "t", logBegin-10*minute, logBegin-9*minute)
	bad := good
	bad.Token = ""
	ahead := good
	ahead.End = hold.StampOf(logBegin + 7*minute)
	elsewhere := held(there, "t", logBegin-10*minute, logBegin-9*minute)

	var frame ingest.FrameWriter
	for _, d := range []hold.Draft{good, bad, elsewhere, ahead} {
		frame.AppendDraft(&d)
	}
	frame.Append([]byte{0xff})
	mixed := log.append(0, logBegin, false, frame.Bytes())
	var damaged ingest.FrameWriter
	second := held(here, "t", logBegin-8*minute, logBegin-7*minute)
	damaged.AppendDraft(&second)
	broken := log.append(0, logBegin, false, append(damaged.Bytes(), 200))
	noJSON := log.append(0, logBegin, true, []byte("{"))
	log.append(0, logBegin, true, fmt.Appendf(nil, `{"token_id":"t","holder_id":%q,"start":"2023-11-14T22:00:00Z","end":"2023-11-14T22:00:01Z"}`, here))

	registry := prometheus.NewRegistry()
	store := storetest.NewMemory()
	run(t, Config{Store: store, Registerer: registry}, log, nil).finish(t, log)

	want := map[string]struct{ field, reason string }{
		fmt.Sprintf("hold.dlq.0.%d.1", mixed):  {"token_id", "is required"},
		fmt.Sprintf("hold.dlq.0.%d.2", mixed):  {"holder_id", "another partition"},
		fmt.Sprintf("hold.dlq.0.%d.3", mixed):  {"end", "future"},
		fmt.Sprintf("hold.dlq.0.%d.4", mixed):  {"", "malformed"},
		fmt.Sprintf("hold.dlq.0.%d.1", broken): {"", "damaged"},
		fmt.Sprintf("hold.dlq.0.%d.0", noJSON): {"", ""},
	}
	if len(log.deadLetters) != len(want) {
		t.Fatalf("%d dead letters, want %d: %v", len(log.deadLetters), len(want), log.deadLetters)
	}
	for subject, w := range want {
		l, ok := log.deadLetters[subject]
		if !ok || l.Field != w.field || !strings.Contains(l.Reason, w.reason) || len(l.Data) == 0 {
			t.Errorf("%s: %+v, want field %q, reason with %q", subject, l, w.field, w.reason)
		}
	}
	if l := log.deadLetters[fmt.Sprintf("hold.dlq.0.%d.0", noJSON)]; l.ContentType != ingest.JSONContentType || string(l.Data) != "{" {
		t.Errorf("JSON dead letter %+v", l)
	}
	// The good events, before and after the bad ones, were applied.
	h, err := store.Holder(context.Background(), 0, here)
	if err != nil || h.Figures.Settled.Held != hold.HeldOf(uint64(2*minute)+1e9) {
		t.Fatalf("held %v, %v", h, err)
	}
	c, _, _ := store.Checkpoint(context.Background(), 0)
	if c.Events != 3 || c.Rejected != 6 {
		t.Fatalf("checkpoint %+v", c)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP holdmetrics_events_rejected_total Events of the log that were refused; each is a dead letter.
# TYPE holdmetrics_events_rejected_total counter
holdmetrics_events_rejected_total{reason="control_character"} 0
holdmetrics_events_rejected_total{reason="damaged_frame"} 1
holdmetrics_events_rejected_total{reason="future"} 1
holdmetrics_events_rejected_total{reason="hold_id_needed"} 0
holdmetrics_events_rejected_total{reason="malformed"} 2
holdmetrics_events_rejected_total{reason="not_utf8"} 0
holdmetrics_events_rejected_total{reason="order"} 0
holdmetrics_events_rejected_total{reason="required"} 1
holdmetrics_events_rejected_total{reason="sealed"} 0
holdmetrics_events_rejected_total{reason="time"} 0
holdmetrics_events_rejected_total{reason="too_long"} 0
holdmetrics_events_rejected_total{reason="weight"} 0
holdmetrics_events_rejected_total{reason="wrong_partition"} 1
`), "holdmetrics_events_rejected_total"); err != nil {
		t.Error(err)
	}
}

// A checkpoint never passes a dead letter that is not stored.
func TestCheckpointWaitsForDeadLetters(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	asked, answer := make(chan struct{}, 64), make(chan struct{})
	log.deadLetterHook = func(ctx context.Context) error {
		asked <- struct{}{}
		select {
		case <-answer:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	bad := log.append(0, logBegin, false, []byte{0xff})
	store := storetest.NewFaulty(storetest.NewMemory())
	r := run(t, Config{Store: store, FlushInterval: time.Nanosecond}, log, nil)
	<-asked
	if n := store.Calls(storetest.OpFlush); n != 0 {
		t.Fatalf("%d flushes before the dead letter was stored", n)
	}
	close(answer)
	if err := r.WaitApplied(context.Background(), 0, bad); err != nil {
		t.Fatal(err)
	}
	r.finish(t, log)
}

func TestForeignAndShorterLog(t *testing.T) {
	t.Parallel()
	log := newMemLog(3)
	var holders []string
	for p := range 3 {
		holders = append(holders, holderOf(p, 3, 0))
		log.add(logBegin, held(holders[p], "t", logBegin-2*minute, logBegin-minute))
	}
	store := storetest.NewMemory()
	for p, c := range []projection.Checkpoint{{LogID: "another log", Position: 1}, {LogID: log.id, Position: 99}} {
		if err := store.Flush(context.Background(), &projection.Batch{Partition: p, Checkpoint: c}); err != nil {
			t.Fatal(err)
		}
	}
	r := run(t, Config{Store: store, sureAfter: time.Millisecond}, log, nil)
	for p, want := range []error{ErrForeignLog, ErrLogShorter, nil} {
		if err := r.WaitApplied(context.Background(), p, 99999); !errors.Is(err, want) {
			t.Errorf("partition %d: %v, want %v", p, err, want)
		} else if want != nil && !strings.Contains(err.Error(), "hint") {
			t.Errorf("no hint: %v", err)
		}
	}
	status := r.Status()
	if status[0].State != Failed || !errors.Is(status[0].Err, ErrForeignLog) || status[1].State != Failed || status[2].State == Failed {
		t.Errorf("status %+v", status)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if s := r.Status()[2]; s.State != Stopped || s.Err != nil {
		t.Errorf("status %+v", s)
	}
}

// A store that stalls makes the reader wait at its bound, and nothing is lost.
func TestStalledStorePausesTheReader(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	store := storetest.NewFaulty(storetest.NewMemory())
	entered, release := store.Stall(storetest.OpFlush)
	const bound = 64 << 10
	r := run(t, Config{Store: store, FlushBytes: bound, FlushInterval: time.Nanosecond}, log, nil)
	at := logBegin
	for i := range 4_000 {
		at += minute
		log.add(at, held(fmt.Sprintf("h%d", i%50), fmt.Sprintf("t%d", i%7), at-2*minute, at-minute))
	}
	<-entered
	full := func() PartitionStatus {
		for {
			s, _ := r.partitions[0].board.snapshot()
			if s.DirtyBytes >= bound {
				return s
			}
			select {
			case <-entered:
			case <-time.After(time.Millisecond): // polls what has no event
			}
		}
	}()
	// One batch may go beyond the bound: what the prefetch buffer has at once.
	if most := bound + 4_000*dirtyEventBytes; full.DirtyBytes > most {
		t.Fatalf("%d dirty bytes, at most %d", full.DirtyBytes, most)
	}
	release()
	r.finish(t, log)
	want := storetest.NewMemory()
	run(t, Config{Store: want}, log, nil).finish(t, log)
	compareStores(t, log, want, store, true)
}

func TestStoreThatFailsAndRecovers(t *testing.T) {
	t.Parallel()
	for _, op := range []storetest.Op{
		storetest.OpSetMeta, storetest.OpCheckpoint, storetest.OpLoad, storetest.OpLoadHolders,
		storetest.OpHolderPairs, storetest.OpFlush, storetest.OpAfterFlush, storetest.OpChangedSince,
	} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			log := newMemLog(1)
			holder := holderOf(0, 1, 1)
			log.add(logBegin, held(holder, "t", logBegin-3*minute, logBegin-2*minute))
			memory := storetest.NewMemory()
			run(t, Config{Store: memory}, log, nil).finish(t, log)
			log.add(logBegin, held(holder, "t", logBegin-2*minute, logBegin-minute))

			store := storetest.NewFaulty(memory)
			store.FailNext(op, 1, errors.New("the store is away"))
			bucket := newMemBucket()
			run(t, Config{Store: store}, log, bucket).finish(t, log)
			if got := bucket.get(holder); got == nil || got.TotalSeconds != 120 {
				t.Fatalf("snapshot %v", got)
			}
		})
	}
}

func TestFencedStops(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	store := storetest.NewMemory()
	faulty := storetest.NewFaulty(store)
	entered, release := faulty.Stall(storetest.OpFlush)
	mine := func(context.Context, int, uint64) (uint64, error) { return 7, nil }
	r := run(t, Config{Store: faulty, Epoch: mine}, log, nil)
	position := log.add(logBegin, held(holderOf(0, 1, 1), "t", logBegin-3*minute, logBegin-2*minute))
	<-entered
	if err := store.Flush(context.Background(), &projection.Batch{Checkpoint: projection.Checkpoint{LogID: log.id, Epoch: 8}}); err != nil {
		t.Fatal(err)
	}
	release()
	if err := <-r.ended; !errors.Is(err, projection.ErrFenced) {
		t.Fatal(err)
	}
	if err := r.WaitApplied(context.Background(), 0, position); !errors.Is(err, projection.ErrFenced) {
		t.Fatal(err)
	}
}

func TestBucketIsMadeAgain(t *testing.T) {
	t.Parallel()
	log := newMemLog(2)
	for i := range 3000 {
		log.add(logBegin, held(fmt.Sprintf("h%d", i), "t", logBegin-3*minute, logBegin-2*minute))
	}
	store, bucket := storetest.NewMemory(), newMemBucket()
	run(t, Config{Store: store}, log, bucket).finish(t, log)
	compareBucket(t, log, store, bucket)
	published := bucket.published

	// Nothing is published again where nothing was lost.
	again := bucket.copy()
	run(t, Config{Store: store}, log, again).finish(t, log)
	if again.published != 0 {
		t.Fatalf("%d snapshots published again", again.published)
	}
	empty := newMemBucket()
	run(t, Config{Store: store}, log, empty).finish(t, log)
	compareBucket(t, log, store, empty)
	if published == 0 || empty.published != 3000 {
		t.Fatalf("%d, then %d snapshots", published, empty.published)
	}

	// A bucket ahead of the log is another log's.
	foreign := newMemBucket()
	foreign.positions[0], foreign.positions[1] = 1<<40, 1<<40
	run(t, Config{Store: store, sureAfter: time.Millisecond}, log, foreign).finish(t, log)
	if len(foreign.stats) != 3000 {
		t.Fatalf("%d snapshots", len(foreign.stats))
	}
}

func TestBucketThatFailsRecovers(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	holder := holderOf(0, 1, 1)
	log.add(logBegin, held(holder, "t", logBegin-3*minute, logBegin-2*minute))
	bucket := newMemBucket()
	failures := 2
	bucket.hook = func() error {
		if failures--; failures >= 0 {
			return errors.New("the bucket is away")
		}
		return nil
	}
	run(t, Config{Store: storetest.NewMemory()}, log, bucket).finish(t, log)
	if got := bucket.get(holder); got == nil || got.TotalSeconds != 60 || got.Generation != "1" || got.Rules != "none" || got.Until != nil {
		t.Fatalf("snapshot %v", got)
	}
}

func TestMetaIsFixed(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	log.add(logBegin, held(holderOf(0, 1, 1), "t", logBegin-3*minute, logBegin-2*minute))
	store := storetest.NewMemory()
	run(t, Config{Store: store}, log, nil).finish(t, log)
	r := run(t, Config{Store: store, Policy: hold.Sum}, log, nil)
	if err := <-r.ended; !errors.Is(err, projection.ErrMetaFixed) {
		t.Fatal(err)
	}
}

func TestWaitAppliedElsewhere(t *testing.T) {
	t.Parallel()
	log := newMemLog(2)
	r := run(t, Config{Store: storetest.NewMemory(), Partitions: []int{1}}, log, nil)
	if err := r.WaitApplied(context.Background(), 0, 1); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
	// Nothing of the partition lies at or before the position.
	if err := r.WaitApplied(context.Background(), 1, 5); err != nil {
		t.Error(err)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	log.add(logBegin, held(holderOf(1, 2, 1), "t", logBegin-3*minute, logBegin-2*minute))
	if err := r.WaitApplied(context.Background(), 1, 5); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
	if _, err := newWorker(Config{Store: storetest.NewMemory(), Partitions: []int{2}}, log, nil); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}
