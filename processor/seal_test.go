package processor

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
)

// sealedLog is a randomLog that is sealed now and then, with ids in any case where
// they are mixed. Between the seals of its partitions other messages may come.
func sealedLog(r *rand.Rand, messages int, mixed bool) *memLog {
	plain := randomLogOf(r, messages, mixed)
	log := newMemLog(plain.partitions)
	log.horizons = map[int64]bool{}
	all := plain.messages[everyPartition]
	var seal []byte
	unsealed := log.partitions // the first that the seal has not come to
	for i := range all {
		if unsealed == log.partitions && r.IntN(messages/4) == 0 {
			horizon := all[i].at - r.Int64N(20*minute)
			log.horizons[horizon] = true
			seal, unsealed = ingest.AppendSeal(nil, horizon), 0
		}
		for ; unsealed < log.partitions && r.IntN(3) > 0; unsealed++ {
			log.append(unsealed, all[i].at, false, seal)
		}
		log.append(all[i].partition, all[i].at, all[i].json, all[i].data)
	}
	return log
}

func openEmbedded(t *testing.T, dir string) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(dir, embedded.Options{CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// swept waits until all pairs of the store are sealed up to the log's last horizon,
// and stops the worker.
func (r *running) swept(t testing.TB, log *memLog, store projection.Store) {
	t.Helper()
	for p := range log.partitions {
		if err := r.WaitApplied(t.Context(), p, log.last); err != nil {
			t.Fatal(err)
		}
		for over := time.Now().Add(time.Minute); ; {
			c, _, err := store.Checkpoint(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if c.Swept == c.Horizon {
				break
			}
			if time.Now().After(over) {
				t.Fatalf("partition %d: %+v", p, c)
			}
			time.Sleep(time.Millisecond) // a store sends no event
		}
	}
	r.finish(t, log)
}

// A log that was sealed gives the same bytes however often the worker was stopped,
// and at whatever moments pairs were sealed; every event is decided as a pair decides
// that was never sealed; and the figures are those of such a pair.
func TestSealedLog(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 14) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 17))
			mixed := seed >= 8
			log := sealedLog(r, 120+r.IntN(200), mixed)
			log.slow = r.IntN(2) == 0
			rules := hold.PlainRules(hold.Policy(r.IntN(2)))
			if mixed {
				rules = &someRules{Rules: rules, version: "lower", named: true}
			}
			dir := t.TempDir()

			once := openEmbedded(t, filepath.Join(dir, "once"))
			defer once.Close()
			run(t, Config{Store: once, Rules: rules}, log, nil).swept(t, log, once)

			often := openEmbedded(t, filepath.Join(dir, "often"))
			defer often.Close()
			for range 2 + r.IntN(4) {
				w := run(t, Config{Store: often, Rules: rules, CacheBytes: 1 + r.IntN(20_000), FlushBytes: 1 + r.IntN(5_000), FlushInterval: time.Millisecond}, log, nil)
				if err := w.WaitApplied(t.Context(), r.IntN(2), 1+r.Uint64N(log.last)); err != nil {
					t.Fatal(err)
				}
				w.stop()
				if err := <-w.ended; err != nil {
					t.Fatal(err)
				}
			}
			run(t, Config{Store: often, Rules: rules}, log, nil).swept(t, log, often)

			for partition := range log.partitions {
				got, again := stateOf(t, once, partition), stateOf(t, often, partition)
				if diff := cmp.Diff(got, again, cmp.AllowUnexported(state{})); diff != "" {
					t.Fatalf("partition %d is not the same after restarts:\n%s", partition, diff)
				}
			}
			compareWithJudged(t, log, once, rules)
		})
	}
}

// compareWithJudged requires the decisions and figures of pairs that are never sealed.
func compareWithJudged(t *testing.T, log *memLog, store projection.Store, rules hold.Rules) {
	t.Helper()
	for partition := range log.partitions {
		want, got := judgeLog(t, log, partition, rules), stateOf(t, store, partition)
		c, _, err := store.Checkpoint(t.Context(), partition)
		if err != nil {
			t.Fatal(err)
		}
		if c.Events != want.events || c.Rejected != want.rejected || c.Horizon != want.horizon {
			t.Fatalf("checkpoint %+v, want %+v", c, want)
		}
		if len(got.pairs) != len(want.pairs) {
			t.Fatalf("%d pairs, want %d", len(got.pairs), len(want.pairs))
		}
		for key, unsealed := range want.pairs {
			record := got.pairs[key]
			pair, err := record.Open()
			if err != nil {
				t.Fatal(err)
			}
			if pair.Len()+int(pair.Sealed().Facts) != unsealed.Len() || pair.Waiting() != unsealed.Waiting() {
				t.Fatalf("%v: %d facts, %+v, %d waiting, want %d, %d", key, pair.Len(), pair.Sealed(), pair.Waiting(), unsealed.Len(), unsealed.Waiting())
			}
			for _, at := range []int64{c.Horizon, c.LogTime, c.LogTime + 20*minute} {
				if at = max(at, c.Horizon); pair.Figures(at) != unsealed.Figures(at) {
					t.Fatalf("%v at %d: %+v, want %+v", key, at, pair.Figures(at), unsealed.Figures(at))
				}
			}
			if want := rules.Of(key.Token).Figures(unsealed, record.Figures.Line.Since); record.Figures != want {
				t.Fatalf("%v is stored as %+v, want %+v", key, record.Figures, want)
			}
		}
	}
}

// judgedLog is what a partition comes to whose pairs are never sealed.
type judgedLog struct {
	pairs            map[projection.PairKey]*hold.Pair
	events, rejected uint64
	horizon          int64
}

func judgeLog(t *testing.T, log *memLog, partition int, rules hold.Rules) judgedLog {
	t.Helper()
	out := judgedLog{pairs: map[projection.PairKey]*hold.Pair{}}
	messages := log.messages[partition]
	if readsWhole(rules, log.partitions) {
		messages = log.messages[everyPartition]
	}
	for _, m := range messages {
		if ingest.IsSeal(m.data) {
			if m.partition != partition {
				continue
			}
			horizon, err := ingest.ReadSeal(m.data)
			if err != nil {
				t.Fatal(err)
			}
			out.horizon = max(out.horizon, horizon)
			continue
		}
		frame := ingest.ReadFrame(m.data)
		for b, ok := frame.Next(); ok; b, ok = frame.Next() {
			var d hold.Draft
			if err := ingest.DecodeEvent(b, &d); err != nil {
				t.Fatal(err)
			}
			e, err := checkBy(&d, rules, m.at+ingest.AcceptedAhead, hold.DefaultLimits())
			if err != nil {
				if m.partition == partition {
					out.rejected++
				}
				continue
			}
			if ingest.Partition(e.Holder, log.partitions) != partition {
				continue
			}
			key := projection.PairKey{Holder: e.Holder, Token: e.Token}
			pair := out.pairs[key]
			if pair == nil {
				pair = hold.NewPair(rules.Of(e.Token).Policy)
			}
			f := e.Fact()
			if out.horizon != 0 && pair.Admits(&f, out.horizon) != nil {
				out.rejected++
				continue
			}
			pair.Add(f)
			out.pairs[key] = pair
			out.events++
		}
	}
	return out
}

// An event that comes too late, of a holder whom the rules move into another partition,
// is refused by that one: once, with a dead letter. It goes by the seal of that partition,
// and by no other one's.
func TestSealedEventsOfMovedHolders(t *testing.T) {
	t.Parallel()
	const sent, at, home, other = "HOLDER", 1, 2, 0
	if partitions := 3; ingest.Partition(sent, partitions) != at || ingest.Partition(strings.ToLower(sent), partitions) != home {
		t.Fatalf("%s is moved from %d to %d", sent, ingest.Partition(sent, partitions), ingest.Partition(strings.ToLower(sent), partitions))
	}
	for _, c := range []struct {
		name    string
		sealed  []int // before the event comes
		refused bool
	}{
		{"its holder's partition is sealed", []int{home}, true},
		{"its own partition is sealed, and not yet its holder's", []int{at, other}, false},
		{"all are sealed", []int{0, 1, 2}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log, horizon, now := newMemLog(3), logBegin, logBegin+10*minute
			log.horizons = map[int64]bool{horizon: true}
			sealed := map[int]bool{}
			seal := func(p int) {
				if !sealed[p] {
					log.append(p, now, false, ingest.AppendSeal(nil, horizon))
				}
				sealed[p] = true
			}
			for _, p := range c.sealed {
				seal(p)
			}
			position := log.add(now, held(sent, "t", horizon-10*minute, horizon-9*minute))
			for p := range 3 {
				seal(p)
			}
			strict := hold.PlainRule(hold.Merge)
			strict.NeedsID = true
			rules := &someRules{Rules: hold.PlainRules(hold.Merge), version: "v", named: true, tokens: map[string]*hold.Rule{"lots": strict}}
			bare := log.add(now, held(sent, "LOTS", horizon-10*minute, horizon-9*minute)) // what the rules refuse is reported by its own partition, once
			store := openEmbedded(t, t.TempDir())
			defer store.Close()
			run(t, Config{Store: store, Rules: rules}, log, nil).swept(t, log, store)
			var got [3]projection.Checkpoint
			for p := range got {
				c, _, err := store.Checkpoint(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				got[p] = c
			}
			events, late := uint64(1), uint64(0)
			if c.refused {
				events, late = 0, 1
			}
			if got[at].Events != 0 || got[at].Rejected != 1 || got[home].Events != events || got[home].Rejected != late || got[other].Events+got[other].Rejected != 0 {
				t.Fatalf("checkpoints %+v", got)
			}
			deadLetter, found := log.deadLetters[(&ingest.DeadLetter{Partition: at, Sequence: position}).Subject()]
			if found != c.refused || found && (deadLetter.Kind != "sealed" || len(deadLetter.Data) == 0) {
				t.Errorf("dead letter %+v", deadLetter)
			}
			if deadLetter := log.deadLetters[(&ingest.DeadLetter{Partition: at, Sequence: bare}).Subject()]; deadLetter.Kind != "hold_id_needed" || len(log.deadLetters) != int(late)+1 {
				t.Errorf("dead letters %+v", log.deadLetters)
			}
		})
	}
}

// What is sealed leaves the store, though no event comes to it again; what comes too
// late is a dead letter that says why; and a seal that nobody may set is none.
func TestSealing(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	var drafts []hold.Draft
	for i := range int64(50) {
		drafts = append(drafts, held("quiet", "t", logBegin+i*minute, logBegin+(i+1)*minute))
	}
	now := logBegin + 100*minute
	log.add(now, drafts...)
	store := openEmbedded(t, t.TempDir())
	defer store.Close()
	run(t, Config{Store: store}, log, nil).finish(t, log)
	before := stateOf(t, store, 0)

	horizon := logBegin + 60*minute
	log.append(0, now, false, ingest.AppendSeal(nil, horizon+1)) // which the settings do not name
	log.append(0, now, false, ingest.AppendSeal(nil, horizon)[:4])
	log.horizons = map[int64]bool{horizon: true, now + 1: true}
	log.append(0, now, false, ingest.AppendSeal(nil, now+1)) // which has not come
	log.append(0, now, false, ingest.AppendSeal(nil, horizon))
	log.append(0, now, false, ingest.AppendSeal(nil, horizon))
	late := log.add(now, held("quiet", "u", logBegin, logBegin+minute), held("quiet", "u", logBegin, horizon+minute), held("quiet", "u", horizon, horizon+minute))
	run(t, Config{Store: store}, log, nil).swept(t, log, store)

	key := projection.PairKey{Holder: "quiet", Token: "t"}
	after := stateOf(t, store, 0)
	record := after.pairs[key]
	pair, err := record.Open()
	if err != nil {
		t.Fatal(err)
	}
	if pair.Len() != 0 || pair.Sealed().Facts != 50 || pair.Sealed().Last != logBegin+50*minute {
		t.Errorf("%d facts, sealed %+v", pair.Len(), pair.Sealed())
	}
	if record.Figures != before.pairs[key].Figures {
		t.Errorf("figures %+v, were %+v", record.Figures, before.pairs[key].Figures)
	}
	c, _, err := store.Checkpoint(t.Context(), 0)
	if err != nil || c.Horizon != horizon || c.Swept != horizon || c.Events != 51 || c.Rejected != 5 {
		t.Errorf("%+v, %v", c, err)
	}
	for index, reason := range []string{"end is of a time that is sealed", "start is of a time that is sealed"} {
		deadLetter := log.deadLetters[(&ingest.DeadLetter{Sequence: late, Index: index}).Subject()]
		if !strings.HasPrefix(deadLetter.Reason, reason) || len(deadLetter.Data) == 0 {
			t.Errorf("dead letter %d: %q", index, deadLetter.Reason)
		}
	}
	if len(log.deadLetters) != 5 {
		t.Errorf("%d dead letters", len(log.deadLetters))
	}
}

// A pair of many pages is sealed in the store, where it is, keeps what is later, and
// goes on; so does one that is in memory, and is large again afterwards.
func TestSealedWhale(t *testing.T) {
	t.Parallel()
	for _, stays := range []bool{false, true} {
		log := newMemLog(1)
		unsealed := hold.NewPair(hold.Merge)
		now := logBegin
		add := func(n int) {
			var frame []hold.Draft
			for i := range n {
				d := held("whale", "t", now, now+minute/2)
				if i%3 == 0 {
					d.HoldID = fmt.Sprint("lot ", now)
				}
				frame = append(frame, d)
				e, err := d.Check(now+minute, hold.DefaultLimits())
				if err != nil {
					t.Fatal(err)
				}
				unsealed.Add(e.Fact())
				if now += minute; len(frame) == 100 {
					log.add(now, frame...)
					frame = nil
				}
			}
		}
		add(2000)
		store := openEmbedded(t, t.TempDir())
		w := run(t, Config{Store: store}, log, nil)
		if !stays {
			w.finish(t, log)
		} else if err := w.WaitApplied(t.Context(), 0, log.last); err != nil {
			t.Fatal(err)
		}
		horizon := now - 500*minute
		log.mu.Lock()
		log.horizons = map[int64]bool{horizon: true}
		log.mu.Unlock()
		log.append(0, now, false, ingest.AppendSeal(nil, horizon))
		if !stays {
			w = run(t, Config{Store: store, CacheBytes: 1}, log, nil)
		}
		w.swept(t, log, store)
		check := func(kept int) {
			t.Helper()
			got := stateOf(t, store, 0).pairs[projection.PairKey{Holder: "whale", Token: "t"}]
			pair, err := got.Open()
			if err != nil {
				t.Fatal(err)
			}
			facts := 0
			for range pair.Facts() {
				facts++
			}
			if pair.Err() != nil || facts != kept || pair.Len() != kept || pair.Sealed().Facts != 1500 {
				t.Fatalf("%d facts, %d by its own count, sealed %+v, %v", facts, pair.Len(), pair.Sealed(), pair.Err())
			}
			if want := unsealed.Figures(got.Figures.Line.Since); got.Figures != want || pair.Figures(now+minute) != unsealed.Figures(now+minute) {
				t.Fatalf("figures %+v, want %+v", got.Figures, want)
			}
		}
		check(500)
		add(1000)
		run(t, Config{Store: store, CacheBytes: 20_000, FlushBytes: 20_000}, log, nil).finish(t, log)
		check(1500)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
