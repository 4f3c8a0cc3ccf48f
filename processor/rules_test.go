package processor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"holdmetrics/hold"
	filerules "holdmetrics/hold/rules"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

// someRules are rules by hand: a rule for each of some tokens, some holders
// excluded, and ids in lower case where named says so.
type someRules struct {
	hold.Rules // of all other tokens
	version    string
	tokens     map[string]*hold.Rule
	excluded   map[string]bool
	named      bool
}

func (r *someRules) Version() string { return r.version }
func (r *someRules) Of(token string) *hold.Rule {
	if rule := r.tokens[token]; rule != nil {
		return rule
	}
	return r.Rules.Of(token)
}
func (r *someRules) Excluded(holder string) bool { return r.excluded[holder] }
func (r *someRules) Holder(id string) string     { return r.lower(id) }
func (r *someRules) Token(id string) string      { return r.lower(id) }
func (r *someRules) NormalisesHolders() bool     { return r.named }
func (r *someRules) lower(id string) string {
	if r.named {
		return strings.ToLower(id)
	}
	return id
}

// randomRules are rules for the tokens and holders of randomLog.
func randomRules(r *rand.Rand, named bool) *someRules {
	rules := &someRules{
		Rules: hold.PlainRules(hold.Policy(r.IntN(2))), version: fmt.Sprint("random-", r.IntN(1000)), named: named,
		tokens: map[string]*hold.Rule{}, excluded: map[string]bool{fmt.Sprintf("h%d", r.IntN(12)): true},
	}
	for i := range r.IntN(4) {
		rule := hold.PlainRule(hold.Policy(r.IntN(2)))
		rule.Multiplier = uint64(r.IntN(5)) * hold.MultiplierOne / 2
		rule.NeedsID = r.IntN(4) == 0
		if r.IntN(2) == 0 {
			rule.SeasonFrom = logBegin + r.Int64N(60)*minute
			if r.IntN(2) == 0 {
				rule.SeasonTo = rule.SeasonFrom + (1+r.Int64N(60))*minute
			}
		}
		if r.IntN(2) == 0 {
			rule.Shortest = r.Int64N(12) * minute
		}
		rule.BoostBy = hold.BoostBy(r.IntN(2))
		for after := r.Int64N(6) * minute; len(rule.Boosts) < r.IntN(3); after += (1 + r.Int64N(6)) * minute {
			rule.Boosts = append(rule.Boosts, hold.Boost{After: after, Factor: uint64(1+r.IntN(6)) * hold.MultiplierOne / 2})
		}
		rules.tokens[fmt.Sprintf("t%d", i)] = rule
	}
	return rules
}

// Events of holders in any case give what the same events with normalised ids
// give, wherever they lie in the log.
func TestNormalisedHolders(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 30) {
		partitions := 4 // between which case moves no holder
		if seed%2 == 0 {
			partitions = 7 // between which it moves nearly all of randomDraft's
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 9))
			rules := randomRules(r, true)
			mixed, plain := newMemLog(partitions), newMemLog(partitions)
			now := logBegin
			for range 150 {
				now += r.Int64N(2 * minute)
				frames, named := make([][]hold.Draft, partitions), make([][]hold.Draft, partitions)
				for range 1 + r.IntN(6) {
					d := randomDraft(r, now)
					lower := d
					if r.IntN(3) > 0 {
						d.Holder = strings.ToUpper(d.Holder)
					}
					if r.IntN(3) == 0 {
						d.Token = strings.ToUpper(d.Token)
					}
					if r.IntN(20) == 0 { // wherever it lies, once it is refused
						d.Token, lower.Token = "", ""
					}
					at, home := ingest.Partition(d.Holder, partitions), ingest.Partition(lower.Holder, partitions)
					frames[at], named[home] = append(frames[at], d), append(named[home], lower)
				}
				for p := range partitions {
					if len(frames[p]) == 1 && r.IntN(2) == 0 {
						mixed.append(p, now, false, ingest.AppendEvent(nil, &frames[p][0]))
					} else if len(frames[p]) > 0 {
						mixed.add(now, frames[p]...)
					}
					if len(named[p]) > 0 {
						plain.add(now, named[p]...)
					}
				}
			}
			// What is not where it belongs by the id that was sent is refused once.
			stray := held("H1", "t1", logBegin, logBegin+minute)
			var w ingest.FrameWriter
			w.AppendDraft(&stray)
			at := (ingest.Partition("H1", partitions) + 1) % partitions
			mixed.append(at, now, false, w.Bytes())

			mixed.slow, plain.slow = r.IntN(2) == 0, r.IntN(2) == 0
			got, want := storetest.NewMemory(), storetest.NewMemory()
			run(t, Config{Store: got, Rules: rules}, mixed, nil).finish(t, mixed)
			run(t, Config{Store: want, Rules: rules}, plain, nil).finish(t, plain)
			compareWithRules(t, mixed, got, rules)
			if foreign := foreignEvents(mixed); (foreign > 0) != (partitions == 7) {
				t.Fatalf("of %d partitions: %d events that lie in another one than their holder's", partitions, foreign)
			}
			var events, rejected [2]uint64
			for p := range partitions {
				for i, s := range []*storetest.Memory{got, want} {
					c, _, err := s.Checkpoint(context.Background(), p)
					if err != nil {
						t.Fatal(err)
					}
					events[i], rejected[i] = events[i]+c.Events, rejected[i]+c.Rejected
				}
				if c, _, _ := got.Checkpoint(context.Background(), p); partitions == 4 {
					if end, _ := mixed.End(context.Background(), p); c.Position != end {
						t.Fatalf("partition %d is at %d, and its own end is %d", p, c.Position, end)
					}
				}
				g, w := stateOf(t, got, p), stateOf(t, want, p)
				if !slices.Equal(sortedKeys(g.pairs), sortedKeys(w.pairs)) {
					t.Fatalf("partition %d has pairs %v, want %v", p, sortedKeys(g.pairs), sortedKeys(w.pairs))
				}
				for key, record := range w.pairs {
					other := g.pairs[key]
					a, b := opened(t, &record), opened(t, &other)
					if !slices.Equal(slices.Collect(a.Holds()), slices.Collect(b.Holds())) {
						t.Fatalf("pair %v has other holds", key)
					}
					if other.Figures.Settled != record.Figures.Settled {
						t.Fatalf("pair %v: settled %v, want %v", key, other.Figures.Settled, record.Figures.Settled)
					}
				}
			}
			if events[0] != events[1] || rejected[0] != rejected[1]+1 {
				t.Fatalf("%d events and %d rejected, want %d and %d and one more", events[0], rejected[0], events[1], rejected[1])
			}
			if l := mixed.deadLetters[fmt.Sprintf("hold.dlq.%d.%d.0", at, mixed.last)]; l.Field != "holder_id" {
				t.Fatalf("the dead letter of the stray is %+v", l)
			}
		})
	}
}

// foreignEvents is how many events of holders in any case lie in another partition
// than the holder's in lower case.
func foreignEvents(log *memLog) (n int) {
	for _, m := range log.messages[everyPartition] {
		for _, event := range eventsOf(m.data) {
			if sent, ok := ingest.HolderOfEvent(event); ok && ingest.Partition(sent, log.partitions) == m.partition &&
				ingest.Partition(strings.ToLower(sent), log.partitions) != m.partition {
				n++
			}
		}
	}
	return n
}

// What the rules do to a holder moves his events only between numbers of partitions
// of which it is known: they change the case of letters, of ids that are their own
// subject token.
func TestRulesMoveHoldersWhereItIsKnown(t *testing.T) {
	t.Parallel()
	evm, err := filerules.Parse("test", []byte("ids: evm"))
	if err != nil {
		t.Fatal(err)
	}
	moved := map[int]int{}
	look := func(fail func(format string, args ...any), id string) {
		named := evm.Holder(id)
		if named == id {
			return
		}
		if ingest.SubjectToken(id) != id || ingest.SubjectToken(named) != named || strings.ToLower(id) != named {
			fail("%q becomes %q", id, named)
		}
		for partitions := 1; partitions <= 64; partitions++ {
			if ingest.Partition(id, partitions) == ingest.Partition(named, partitions) {
				continue
			}
			if moved[partitions]++; !readsWhole(evm, partitions) {
				fail("of %d partitions, %q is in another one than %q", partitions, id, named)
			}
		}
	}
	// Enough that some are moved, however few are drawn below.
	for i := range 100 {
		look(t.Fatalf, fmt.Sprintf("0x%040X", 0xABCDEF*(i+1)))
	}
	rapid.Check(t, func(t *rapid.T) {
		look(t.Fatalf, rapid.OneOf(
			rapid.StringMatching(`0x[0-9a-fA-F]{40}`), rapid.StringMatching(`0[xX][0-9a-gA-G.ÄK=_-]{39,41}`), rapid.String(),
		).Draw(t, "id"))
	})
	for partitions := 1; partitions <= 64; partitions++ {
		if want := 32%partitions != 0; readsWhole(evm, partitions) != want || (moved[partitions] > 0) != want {
			t.Errorf("%d partitions: the whole log is read: %v; %d were moved", partitions, readsWhole(evm, partitions), moved[partitions])
		}
	}
	if readsWhole(hold.PlainRules(hold.Merge), 3) {
		t.Error("the whole log is read for rules that normalise nothing")
	}
}

// A store and a bucket of a time when every partition of such rules read the whole
// log stand at positions behind their own ends, and go on from there.
func TestStoreOfAWholeLogGoesOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		lost, ahead bool // the store; what its last flush was
	}{{name: "kept"}, {name: "behind its bucket", ahead: true}, {name: "deleted", lost: true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rules := &someRules{Rules: hold.PlainRules(hold.Merge), version: "v", named: true}
			log, at := newMemLog(4), logBegin
			add := func(n int) {
				for i := range n {
					at += minute
					log.add(at, held(fmt.Sprintf("H%d", i%9), "t", at-2*minute, at-minute))
				}
			}
			add(50)
			store, bucket := storetest.NewMemory(), newMemBucket()
			run(t, Config{Store: store, Rules: rules}, wholeLog{log}, bucket).finish(t, log)
			if end, _ := log.End(context.Background(), 0); bucket.positions[0] != log.last || end == log.last {
				t.Fatalf("the bucket is at %d, the log at %d and partition 0 at %d", bucket.positions[0], log.last, end)
			}
			if c.lost {
				store = storetest.NewMemory()
			}
			for p := range bucket.positions {
				if c.ahead {
					log.append((p+1)%4, at, false, ingest.AppendEvent(nil, &hold.Draft{})) // refused, and of another partition
					bucket.positions[p] = log.last
				}
			}
			bucket.mayStepBack = true // to the partition's own end
			r := run(t, Config{Store: store, Rules: rules, sureAfter: time.Millisecond}, log, bucket)
			for _, p := range r.partitions {
				for s, moved := p.board.snapshot(); s.State != Running; s, moved = p.board.snapshot() {
					if s.State == Failed {
						t.Fatal(s.Err)
					}
					<-moved
				}
			}
			add(50)
			r.finish(t, log)
			compareWithRules(t, log, store, rules)
			compareBucketBy(t, log, store, bucket, rules)
		})
	}
}

func sortedKeys[V any](m map[projection.PairKey]V) []projection.PairKey {
	return slices.SortedFunc(maps.Keys(m), projection.PairKey.Compare)
}

func opened(t testing.TB, r *projection.PairRecord) *hold.Pair {
	t.Helper()
	p, err := r.Open()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExcludedHoldersAreCountedAndMakeNothing(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	rules := &someRules{Rules: hold.PlainRules(hold.Merge), version: "v", excluded: map[string]bool{"pool": true}}
	log.add(logBegin, held("pool", "t", logBegin-minute, logBegin), held("ann", "t", logBegin-minute, logBegin), held("pool", "u", logBegin-minute, logBegin))
	log.add(logBegin, held("pool", "t", logBegin-2*minute, logBegin))
	registry := prometheus.NewRegistry()
	store, bucket := storetest.NewMemory(), newMemBucket()
	w := run(t, Config{Store: store, Rules: rules, Registerer: registry}, log, bucket)
	w.finish(t, log)
	st := stateOf(t, store, 0)
	if len(st.pairs) != 1 || len(st.holders) != 1 || len(bucket.stats) != 1 || bucket.get("ann") == nil {
		t.Fatalf("%d pairs, %d holders, %d snapshots; want those of ann alone", len(st.pairs), len(st.holders), len(bucket.stats))
	}
	s := w.Status()[0]
	if c, _, _ := store.Checkpoint(context.Background(), 0); c.Position != log.last || c.Events != 4 || c.Rejected != 0 || s.Excluded != 3 || ReportOf(&s, time.Now()).Excluded != 3 {
		t.Fatalf("checkpoint %+v, status %+v", c, s)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP holdmetrics_events_excluded_total Events accepted of holders whom the rules exclude; they change nothing.
# TYPE holdmetrics_events_excluded_total counter
holdmetrics_events_excluded_total{partition="0"} 3
`), "holdmetrics_events_excluded_total"); err != nil {
		t.Error(err)
	}
}

func TestTokensThatNeedHoldIDs(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	strict := hold.PlainRule(hold.Sum)
	strict.NeedsID = true
	rules := &someRules{Rules: hold.PlainRules(hold.Merge), version: "v", tokens: map[string]*hold.Rule{"lots": strict}}
	named := held("ann", "lots", logBegin-minute, logBegin)
	named.HoldID = "1"
	bare := log.add(logBegin, held("bob", "lots", logBegin-minute, logBegin), named, held("ann", "t", logBegin-minute, logBegin))
	log.add(logBegin, held("ann", "lots", logBegin-minute, logBegin))
	store := storetest.NewMemory()
	w := run(t, Config{Store: store, Rules: rules}, log, nil)
	w.finish(t, log)
	if l := log.deadLetters[fmt.Sprintf("hold.dlq.0.%d.0", bare)]; l.Field != "hold_id" || !strings.Contains(l.Reason, "rules") || len(log.deadLetters) != 2 {
		t.Fatalf("dead letters %+v", log.deadLetters)
	}
	st := stateOf(t, store, 0)
	if r, ok := st.pairs[projection.PairKey{Holder: "ann", Token: "lots"}]; !ok || r.Policy != hold.Sum || len(st.pairs) != 2 || len(st.holders) != 1 {
		t.Fatalf("pairs %v of %v", st.pairs, st.holders)
	}
	if p := w.partitions[0]; len(p.mem.cache.holders) != 1 || len(p.mem.cache.tokens) != 2 {
		t.Fatalf("%d holders and %d tokens in memory", len(p.mem.cache.holders), len(p.mem.cache.tokens))
	}
}

// A store is of the rules that it was made by; one from before rules, of none.
func TestRulesAreFixed(t *testing.T) {
	t.Parallel()
	rules := func(version string) hold.Rules {
		return &someRules{Rules: hold.PlainRules(hold.Merge), version: version}
	}
	for _, c := range []struct {
		name         string
		made         map[string]string
		rules        hold.Rules
		stored, want string // stored "": it is accepted
	}{
		{"new", nil, rules("abc"), "", "abc"},
		{"the same", map[string]string{projection.MetaPolicy: "merge", projection.MetaRules: "abc"}, rules("abc"), "", "abc"},
		{"others", map[string]string{projection.MetaPolicy: "merge", projection.MetaRules: "abc"}, rules("def"), "abc", "abc"},
		{"none any more", map[string]string{projection.MetaPolicy: "merge", projection.MetaRules: "abc"}, nil, "abc", "abc"},
		{"before rules", map[string]string{projection.MetaPolicy: "merge"}, nil, "", hold.NoRulesVersion},
		{"rules over a store from before", map[string]string{projection.MetaPolicy: "merge"}, rules("abc"), hold.NoRulesVersion, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			store := storetest.NewMemory()
			if err := store.SetMeta(context.Background(), c.made); err != nil {
				t.Fatal(err)
			}
			log := newMemLog(1)
			log.add(logBegin, held("ann", "t", logBegin-minute, logBegin))
			r := run(t, Config{Store: store, Rules: c.rules}, log, nil)
			if c.stored == "" {
				r.finish(t, log)
			} else {
				var fixed *projection.MetaError
				if err := <-r.ended; !errors.As(err, &fixed) || fixed.Name != projection.MetaRules || fixed.Stored != c.stored || !strings.Contains(err.Error(), "rebuild --rules") {
					t.Fatal(err)
				}
			}
			if m, err := store.Meta(context.Background()); err != nil || m[projection.MetaRules] != c.want {
				t.Fatalf("%v, %v", m, err)
			}
		})
	}
}
