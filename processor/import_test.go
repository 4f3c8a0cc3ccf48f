package processor

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/archive"
	"holdmetrics/projection/storetest"
)

// eventSoup is a log of years ago with all that anybody may publish: frames, raw
// messages of both kinds, what cannot be read, what comes to the wrong partition,
// and times that only some of its limits allow.
func eventSoup(r *rand.Rand) (*memLog, ingest.Origin) {
	log := randomLog(r, 60)
	now := logBegin + 100*minute
	for range 120 {
		now += r.Int64N(3 * minute)
		d := randomDraft(r, now)
		if r.IntN(2) == 0 { // about as far ahead as one of the limits allows
			d.End = hold.StampOf(now + minute + []int64{5, 60, 600}[r.IntN(3)]*minute + r.Int64N(3*minute) - minute)
		}
		home := ingest.Partition(d.Holder, log.partitions)
		if r.IntN(8) == 0 {
			home = r.IntN(log.partitions)
		}
		event := ingest.AppendEvent(nil, &d)
		switch r.IntN(6) {
		case 0:
			log.append(home, now, true, fmt.Appendf(nil, `{"token_id":%q,"holder_id":%q,"start":%d,"end":%d.5}`, d.Token, d.Holder, now/1e9-9, now/1e9+r.Int64N(4000)))
		case 1:
			log.append(home, now, r.IntN(2) == 0, event[:r.IntN(len(event))])
		case 2:
			log.append(home, now, false, append([]byte{0, 'H', 1, byte(len(event))}, append(event, byte(r.IntN(9)))...))
		default:
			log.append(home, now, false, event)
		}
	}
	o := ingest.Origin{LogID: log.id, Partitions: log.partitions, Through: log.last, Limits: []ingest.LimitsFrom{
		{From: 0, Limits: hold.DefaultLimits()},
		{From: log.last / 3, Limits: hold.Limits{MaxClockSkew: minute, MaxFutureEnd: 600 * minute}},
		{From: log.last / 3 * 2, Limits: hold.Limits{MaxClockSkew: 9 * minute, MaxFutureEnd: 60 * minute}},
	}}
	log.limits = func(position uint64) hold.Limits {
		i := len(o.Limits) - 1
		for position < o.Limits[i].From {
			i--
		}
		return o.Limits[i].Limits
	}
	return log, o
}

// A log that is exported and imported elsewhere comes to the same records, down to
// positions and times, and refuses the same events for the same reasons, also while
// a worker runs there that knew the log when it was empty.
func TestImportedLogDecidesTheSame(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			origin, o := eventSoup(rand.New(rand.NewPCG(seed, 11)))
			want := storetest.NewMemory()
			run(t, Config{Store: want}, origin, nil).finish(t, origin)

			name := filepath.Join(t.TempDir(), []string{"log.ndjson.gz", "log.parquet", "log.ndjson.zst", "log.ndjson"}[seed%4])
			exportTo(t, name, archive.Header{Origin: o, From: 1}, messagesOf(origin))

			js := startServer(t)
			log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{Partitions: o.Partitions, Limits: hold.Limits{MaxClockSkew: 1}})
			if err != nil {
				t.Fatal(err)
			}
			got := storetest.NewMemory()
			w := run(t, Config{Store: got}, jetStreamLog{log, readBehind, nil}, nil)
			imported := importFrom(t, js, name)
			for p := range o.Partitions {
				end, err := imported.End(ctx, p)
				if err != nil {
					t.Fatal(err)
				}
				if err := w.WaitApplied(ctx, p, end); err != nil {
					t.Fatal(err)
				}
			}
			w.stop()
			if err := <-w.ended; err != nil {
				t.Fatal(err)
			}
			for p := range o.Partitions {
				a, b := stateOf(t, want, p), stateOf(t, got, p)
				if diff := cmp.Diff(a.pairs, b.pairs); diff != "" {
					t.Fatalf("partition %d: pairs (-origin +imported):\n%s", p, diff)
				}
				if diff := cmp.Diff(a.holders, b.holders); diff != "" {
					t.Fatalf("partition %d: holders (-origin +imported):\n%s", p, diff)
				}
				x, _, _ := want.Checkpoint(ctx, p)
				y, _, _ := got.Checkpoint(ctx, p)
				if x.LogID, x.Epoch = y.LogID, y.Epoch; x != y {
					t.Fatalf("partition %d: checkpoint %+v, of the origin %+v", p, y, x)
				}
			}
			deadLetters := map[string]ingest.DeadLetter{}
			for d, err := range imported.DeadLetters().All(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				d.Origin, d.Size = "memory", 0
				deadLetters[d.Subject()] = d
			}
			if len(deadLetters) < 20 {
				t.Errorf("%d dead letters only", len(deadLetters))
			}
			if diff := cmp.Diff(origin.deadLetters, deadLetters, cmp.Transformer("bytes", func(b []byte) string { return string(b) })); diff != "" {
				t.Fatalf("dead letters (-origin +imported):\n%s", diff)
			}

			// What is exported from there is the same again.
			var again []*ingest.Message
			for m, err := range imported.Read(ctx, ingest.Range{}) {
				if err != nil {
					t.Fatal(err)
				}
				again = append(again, m)
			}
			if !slices.EqualFunc(messagesOf(origin), again, func(a, b *ingest.Message) bool {
				return a.Position == b.Position && a.Partition == b.Partition && a.Time == b.Time && a.JSON == b.JSON && bytes.Equal(a.Data, b.Data)
			}) {
				t.Error("the imported log has other messages")
			}
		})
	}
}

func messagesOf(log *memLog) []*ingest.Message {
	var all []*ingest.Message
	for _, m := range log.messages[everyPartition] {
		all = append(all, &ingest.Message{Position: m.position, Partition: m.partition, Time: m.at, JSON: m.json, Data: m.data})
	}
	return all
}

func exportTo(t *testing.T, name string, h archive.Header, messages []*ingest.Message) {
	t.Helper()
	format, err := archive.FormatOf(name, "")
	if err != nil {
		t.Fatal(err)
	}
	w, err := archive.Create(name, format, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if err := w.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func importFrom(t *testing.T, js jetstream.JetStream, name string) *ingest.Log {
	t.Helper()
	r, err := archive.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	i, err := ingest.BeginImport(t.Context(), js, r.Header().Origin, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	for m, err := range r.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Add(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	log, err := i.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// A worker that is stopped while an import fills its log stops.
func TestStoppedDuringAnImport(t *testing.T) {
	t.Parallel()
	js := startServer(t)
	log, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	store := storetest.NewMemory()
	w := run(t, Config{Store: store}, jetStreamLog{log, readBehind, nil}, nil)
	origin, o := eventSoup(rand.New(rand.NewPCG(1, 12)))
	i, err := ingest.BeginImport(t.Context(), js, o, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	messages := messagesOf(origin)
	for _, m := range messages[:len(messages)-1] {
		if err := i.Add(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := i.Finish(t.Context()); err == nil { // waits until the log has them
		t.Fatal("an import was finished that lacks a message")
	}
	w.stop()
	if err := <-w.ended; err != nil {
		t.Fatal(err)
	}
	for p := range o.Partitions {
		if st := stateOf(t, store, p); len(st.pairs) > 0 {
			t.Errorf("partition %d has %d pairs of an unfinished import", p, len(st.pairs))
		}
	}
}
