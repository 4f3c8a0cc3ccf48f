package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdmetrics/hold"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

// Live figures go on past a known end, without an event.
func TestLinesGoOnWhereTheyBreak(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprint("all=", all), func(t *testing.T) {
			t.Parallel()
			r := newRanked(t)
			const now = testNow / 1e9
			r.take(held("x", "alice", now-100, now+10, 2), openHold("y", "alice", now-50, 1), held("x", "bob", now-10, now+5, 1), held("z", "bob", now-10, now+15, 1))
			read := func(holder string) *holdpb.HoldStat {
				if all {
					return r.live()[holder]
				}
				return r.live(holder)[holder]
			}
			before := read("alice")
			if before.LiveScore != "250" || before.Until.GetSeconds() != now+10 {
				t.Fatal(before)
			}
			for _, c := range []struct {
				after      int64
				alice, bob string
			}{{7, "271", "32"}, {10, "280", "35"}, {12, "282", "37"}, {100, "370", "40"}} {
				r.now.Store(testNow + c.after*sec)
				a, b := read("alice"), read("bob")
				if a.LiveScore != c.alice || b.LiveScore != c.bob || a.AsOf.AsTime().UnixNano() != r.now.Load() || b.AsOf.AsTime().UnixNano() != r.now.Load() {
					t.Fatalf("after %d s: %v, %v", c.after, a, b)
				}
			}
			after := read("alice")
			if after.Until != nil || after.LiveRate != "1" || after.Since.AsTime().UnixNano() <= before.Since.AsTime().UnixNano() {
				t.Fatalf("%v", after)
			}
			for _, s := range []*holdpb.HoldStat{before, after} {
				s.LiveBase, s.LiveRate, s.LiveHeldBase, s.LiveHeldRate, s.Since, s.Until = "", "", "", 0, nil, nil
				s.LiveScore, s.LiveScoreDouble, s.LiveHeld, s.AsOf = "", 0, "", nil
			}
			if !proto.Equal(before, after) {
				t.Fatalf("%v is not the same snapshot as %v", after, before)
			}
		})
	}
}

// Whoever watches live figures is told when a line breaks; who watches settled ones is not.
func TestWatchersAreToldOfBreaks(t *testing.T) {
	t.Parallel()
	r := newRanked(t)
	const now = testNow / 1e9
	r.take(held("x", "alice", now-100, now+10, 2), openHold("y", "bob", now-10, 1))
	requests := map[string]*holdpb.StatsRequest{
		"all": {Watch: true, Live: true}, "some": {Watch: true, Live: true, HolderIds: []string{"alice"}}, "settled": {Watch: true},
	}
	next := map[string]func() *holdpb.HoldStat{}
	for name, request := range requests {
		stream, err := r.metrics().Stats(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		next[name] = func() *holdpb.HoldStat {
			s, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		for !next[name]().Complete {
		}
	}
	r.now.Store(testNow + 12*sec)
	ClockJumped(r.gateway.Reads().current())
	for _, name := range []string{"all", "some"} {
		if s := next[name](); s.HolderId != "alice" || s.LiveScore != "220" || s.LiveRate != "0" || s.Until != nil || s.Position != 1 {
			t.Fatalf("%s: %v", name, s)
		}
	}
	r.take(held("x", "alice", now-100, now+10, 2), held("z", "alice", now-100, now-99, 1))
	if s := next["settled"](); s.Position != 2 {
		t.Fatalf("settled: %v", s)
	}
}

// By rules a score may jump where its line breaks: in that very instant it counts,
// and rankings of all and of a token know it.
func TestReadsOfRunsThatBecomeLongEnough(t *testing.T) {
	t.Parallel()
	rule := hold.PlainRule(hold.Merge)
	rule.Shortest = 60 * sec
	r := newRanked(t, func(w *world) { w.cfg.Rules = oneRule{hold.PlainRules(hold.Merge), rule} })
	const now = testNow / 1e9
	r.take(openHold("x", "alice", now-50, 1), openHold("y", "bob", now-1, 0.5))
	for _, c := range []struct {
		after   int64
		alice   string
		ranking string
	}{
		{0, "0", "bob 0.5, alice 0"},
		{10*sec - 1, "0", "bob 5.4999999995, alice 0"},
		{10 * sec, "60", "alice 60, bob 5.5"},
		{11 * sec, "61", "alice 61, bob 6"},
	} {
		r.now.Store(testNow + c.after)
		if s := r.live("alice")["alice"]; s.LiveScore != c.alice || s.AsOf.AsTime().UnixNano() != r.now.Load() {
			t.Errorf("after %d: %v", c.after, s)
		}
		var page topBody
		if err := json.Unmarshal(get(t, r.world, "/top?by=live", 200), &page); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range page.Holders {
			got = append(got, h.HolderID+" "+h.Score)
		}
		if strings.Join(got, ", ") != c.ranking {
			t.Errorf("after %d: %v, want %s", c.after, got, c.ranking)
		}
		ForgetPins(r.gateway.Reads().current())
	}
}

// oneRule are rules of which the token x has one of its own.
type oneRule struct {
	hold.Rules
	x *hold.Rule
}

func (oneRule) Version() string { return "one" }
func (o oneRule) Of(token string) *hold.Rule {
	if token == "x" {
		return o.x
	}
	return o.Rules.Of(token)
}

// Without a store, with one that is away, or with one that knows more than the
// snapshot, an answer is of the line's end and says so; where scores may jump, of
// the last instant before.
func TestLinesThatCannotGoOn(t *testing.T) {
	t.Parallel()
	const now = testNow / 1e9
	stat := func(rules string) *holdpb.HoldStat {
		return &holdpb.HoldStat{HolderId: "alice", LiveBase: "200", LiveRate: "2", Since: timestamp(testNow), Until: timestamp(testNow + 10*sec), Position: 1, Rules: rules}
	}
	for _, c := range []struct {
		name  string
		rules string
		world func(*world)
		want  string
		asOf  int64
	}{
		{"no store", "none", func(w *world) { w.cfg.Reader = noReader{Reader: w.store, err: ErrNoStore} }, "220", testNow + 10*sec},
		{"no store, by rules", "abc", func(w *world) { w.cfg.Reader = noReader{Reader: w.store, err: ErrNoStore} }, "219.999999998", testNow + 10*sec - 1},
		{"away", "none", func(w *world) { w.cfg.Reader = noReader{Reader: w.store, err: projection.ErrUnavailable} }, "220", testNow + 10*sec},
		{"ahead", "none", func(*world) {}, "220", testNow + 10*sec},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRanked(t, c.world)
			r.apply(t, 2, testNow, held("x", "alice", now-100, now+10, 2)) // at position 2
			r.snapshots.put(stat(c.rules))
			r.now.Store(testNow + 20*sec)
			for _, s := range []*holdpb.HoldStat{r.live("alice")["alice"], r.live()["alice"]} {
				if s.LiveScore != c.want || s.AsOf.AsTime().UnixNano() != c.asOf || s.Position != 1 {
					t.Errorf("%v", s)
				}
			}
		})
	}
}

// After a store was away lines go on again.
func TestLinesGoOnWhenTheStoreIsBack(t *testing.T) {
	t.Parallel()
	r := newRanked(t)
	const now = testNow / 1e9
	r.take(held("x", "alice", now-100, now+10, 2))
	stream, err := r.metrics().Stats(t.Context(), &holdpb.StatsRequest{Watch: true, Live: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if s.Complete {
			break
		}
	}
	failed := make(chan struct{}, 64)
	away := errors.New("away")
	r.store.SetHook(func(_ context.Context, op storetest.Op, _ int) error {
		if op != storetest.OpView {
			return nil
		}
		select {
		case failed <- struct{}{}:
		default:
		}
		return away
	})
	r.now.Store(testNow + 20*sec)
	if s := r.live("alice")["alice"]; s.LiveScore != "220" || s.AsOf.AsTime().UnixNano() != testNow+10*sec {
		t.Fatal(s)
	}
	<-failed
	r.store.SetHook(nil)
	ClockJumped(r.gateway.Reads().current())
	if s, err := stream.Recv(); err != nil || s.LiveScore != "220" || s.AsOf.AsTime().UnixNano() != r.now.Load() {
		t.Fatalf("%v, %v", s, err)
	}
}

// Whatever the rules and the holds, and whenever it is asked, a live figure is that
// of the facts.
func TestLiveReadsAgainstTheFacts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 3))
			rule := hold.PlainRule(hold.Policy(random.IntN(2)))
			rule.Multiplier = uint64(random.IntN(4)) * hold.MultiplierOne / 2
			rule.Shortest = random.Int64N(3) * random.Int64N(50) * sec
			rule.BoostBy = hold.BoostBy(random.IntN(2))
			for after := random.Int64N(30) * sec; len(rule.Boosts) < int(seed%4); after += (1 + random.Int64N(40)) * sec {
				rule.Boosts = append(rule.Boosts, hold.Boost{After: after, Factor: uint64(random.IntN(6)) * hold.MultiplierOne / 2})
			}
			if random.IntN(2) == 0 {
				rule.SeasonFrom = testNow + (random.Int64N(100)-50)*sec
				rule.SeasonTo = rule.SeasonFrom + (1+random.Int64N(100))*sec
			}
			rules := oneRule{hold.PlainRules(hold.Merge), rule}
			r := newRanked(t, func(w *world) { w.cfg.Rules = rules })
			const now = testNow / 1e9
			var drafts []hold.Draft
			facts := map[projection.PairKey][]hold.Fact{}
			for range 12 {
				start := now - random.Int64N(60)
				d := openHold([]string{"x", "y"}[random.IntN(2)], fmt.Sprint("h", random.IntN(3)), start, float64(1+random.IntN(3)))
				if random.IntN(3) > 0 {
					d.End = at(start + random.Int64N(120))
				}
				e, err := d.Check(testNow, hold.Limits{MaxClockSkew: hold.MaxTime, MaxFutureEnd: hold.MaxTime})
				if err != nil {
					t.Fatal(err)
				}
				key := projection.PairKey{Holder: d.Holder, Token: d.Token}
				drafts, facts[key] = append(drafts, d), append(facts[key], e.Fact())
			}
			r.take(drafts...)
			for range 15 {
				r.now.Add(random.Int64N(20*sec) + random.Int64N(2))
				want := map[string]hold.Amount{}
				for key, some := range facts {
					pair := hold.NewPair(rules.Of(key.Token).Policy)
					for _, f := range some {
						pair.Add(f)
					}
					want[key.Holder] = want[key.Holder].Add(rules.Of(key.Token).LiveAt(pair, r.now.Load()))
				}
				var stats map[string]*holdpb.HoldStat
				if random.IntN(2) == 0 {
					stats = r.live()
				} else {
					stats = map[string]*holdpb.HoldStat{}
					for holder := range want {
						stats[holder] = r.live(holder)[holder]
					}
				}
				for holder, w := range want {
					if s := stats[holder]; s.LiveScore != w.Score.String() || s.LiveHeld != w.Held.String() || s.AsOf.AsTime().UnixNano() != r.now.Load() {
						t.Fatalf("%s after %d: %v, want %v", holder, r.now.Load()-testNow, s, w)
					}
				}
			}
		})
	}
}
