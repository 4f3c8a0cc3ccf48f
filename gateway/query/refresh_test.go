package query_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/internal/testseed"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// Live figures go on past a known end, without an event.
func TestLinesGoOnWhereTheyBreak(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprint("all=", all), func(t *testing.T) {
			t.Parallel()
			r := gatewaytest.NewRanked(t)
			const now = fakes.TestNow / 1e9
			r.Take(fakes.Held("x", "alice", now-100, now+10, 2), fakes.OpenHold("y", "alice", now-50, 1), fakes.Held("x", "bob", now-10, now+5, 1), fakes.Held("z", "bob", now-10, now+15, 1))
			read := func(holder string) *holdpb.HoldStat {
				if all {
					return r.Live()[holder]
				}
				return r.Live(holder)[holder]
			}
			before := read("alice")
			if before.LiveScore != "250" || before.Until.GetSeconds() != now+10 {
				t.Fatal(before)
			}
			for _, c := range []struct {
				after      int64
				alice, bob string
			}{{7, "271", "32"}, {10, "280", "35"}, {12, "282", "37"}, {100, "370", "40"}} {
				r.SetClock(fakes.TestNow + c.after*gatewaytest.Sec)
				a, b := read("alice"), read("bob")
				if a.LiveScore != c.alice || b.LiveScore != c.bob || a.AsOf.AsTime().UnixNano() != r.Now.Load() || b.AsOf.AsTime().UnixNano() != r.Now.Load() {
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

// A watch of live figures gets an update when a line breaks; a watch of settled ones does not.
func TestWatchersSeeBreaks(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	const now = fakes.TestNow / 1e9
	r.Take(fakes.Held("x", "alice", now-100, now+10, 2), fakes.OpenHold("y", "bob", now-10, 1))
	requests := map[string]*holdpb.StatsRequest{
		"all": {Watch: true, Live: true}, "some": {Watch: true, Live: true, HolderIds: []string{"alice"}}, "settled": {Watch: true},
	}
	next := map[string]func() *holdpb.HoldStat{}
	for name, request := range requests {
		stream, err := r.Metrics().Stats(t.Context(), request)
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
	r.SetClock(fakes.TestNow + 12*gatewaytest.Sec)
	for _, name := range []string{"all", "some"} {
		if s := next[name](); s.HolderId != "alice" || s.LiveScore != "220" || s.LiveRate != "0" || s.Until != nil || s.Position != 1 {
			t.Fatalf("%s: %v", name, s)
		}
	}
	r.Take(fakes.Held("x", "alice", now-100, now+10, 2), fakes.Held("z", "alice", now-100, now-99, 1))
	if s := next["settled"](); s.Position != 2 {
		t.Fatalf("settled: %v", s)
	}
}

// By rules a score may jump where its line breaks: in that very instant it counts,
// and rankings of all and of a token know it.
func TestReadsOfRunsThatBecomeLongEnough(t *testing.T) {
	t.Parallel()
	rule := hold.PlainRule(hold.Merge)
	rule.Shortest = 60 * gatewaytest.Sec
	r := gatewaytest.NewRanked(t, func(w *gatewaytest.World) { w.Cfg.Rules = oneRule{hold.PlainRules(hold.Merge), rule} })
	const now = fakes.TestNow / 1e9
	r.Take(fakes.OpenHold("x", "alice", now-50, 1), fakes.OpenHold("y", "bob", now-1, 0.5))
	for _, c := range []struct {
		after   int64
		alice   string
		ranking string
	}{
		{0, "0", "bob 0.5, alice 0"},
		{10*gatewaytest.Sec - 1, "0", "bob 5.4999999995, alice 0"},
		{10 * gatewaytest.Sec, "60", "alice 60, bob 5.5"},
		{11 * gatewaytest.Sec, "61", "alice 61, bob 6"},
	} {
		r.SetClock(fakes.TestNow + c.after)
		if s := r.Live("alice")["alice"]; s.LiveScore != c.alice || s.AsOf.AsTime().UnixNano() != r.Now.Load() {
			t.Errorf("after %d: %v", c.after, s)
		}
		var page httpapi.TopBody
		if err := json.Unmarshal(gatewaytest.Get(t, r.World, "/top?by=live", 200), &page); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range page.Holders {
			got = append(got, h.HolderID+" "+h.Score)
		}
		if strings.Join(got, ", ") != c.ranking {
			t.Errorf("after %d: %v, want %s", c.after, got, c.ranking)
		}
		query.ForgetPins(r.Gateway.Reads().Active())
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

// Until the owner has published the next piece of a line, an answer is of the line's
// end and says so, with any store or none. If scores may jump, it is of the last
// instant before.
func TestLinesThatCannotGoOn(t *testing.T) {
	t.Parallel()
	const now = fakes.TestNow / 1e9
	stat := func(rules string) *holdpb.HoldStat {
		return &holdpb.HoldStat{HolderId: "alice", LiveBase: "200", LiveRate: "2", Since: fakes.Timestamp(fakes.TestNow), Until: fakes.Timestamp(fakes.TestNow + 10*gatewaytest.Sec), Position: 1, Rules: rules}
	}
	for _, c := range []struct {
		name  string
		rules string
		world func(*gatewaytest.World)
		want  string
		asOf  int64
	}{
		{"no store", "none", func(w *gatewaytest.World) {
			w.Cfg.Reader = gatewaytest.NoReader{Reader: w.Store, Err: query.ErrNoStore}
		}, "220", fakes.TestNow + 10*gatewaytest.Sec},
		{"no store, by rules", "abc", func(w *gatewaytest.World) {
			w.Cfg.Reader = gatewaytest.NoReader{Reader: w.Store, Err: query.ErrNoStore}
		}, "219.999999998", fakes.TestNow + 10*gatewaytest.Sec - 1},
		{"away", "none", func(w *gatewaytest.World) {
			w.Cfg.Reader = gatewaytest.NoReader{Reader: w.Store, Err: projection.ErrUnavailable}
		}, "220", fakes.TestNow + 10*gatewaytest.Sec},
		{"ahead", "none", func(*gatewaytest.World) {}, "220", fakes.TestNow + 10*gatewaytest.Sec},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := gatewaytest.NewRanked(t, c.world)
			r.Apply(t, 2, fakes.TestNow, fakes.Held("x", "alice", now-100, now+10, 2)) // at position 2
			r.Snapshots.Put(stat(c.rules))
			r.Now.Store(fakes.TestNow + 20*gatewaytest.Sec)
			for _, s := range []*holdpb.HoldStat{r.Live("alice")["alice"], r.Live()["alice"]} {
				if s.LiveScore != c.want || s.AsOf.AsTime().UnixNano() != c.asOf || s.Position != 1 {
					t.Errorf("%v", s)
				}
			}
		})
	}
}

// An owner that was away publishes the next piece late, and lines go on, also at a
// gateway without a store.
func TestLinesGoOnWhenTheOwnerIsBack(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t, func(w *gatewaytest.World) {
		w.Cfg.Reader = gatewaytest.NoReader{Reader: w.Store, Err: query.ErrNoStore}
	})
	const now = fakes.TestNow / 1e9
	r.Take(fakes.Held("x", "alice", now-100, now+10, 2))
	stream, err := r.Metrics().Stats(t.Context(), &holdpb.StatsRequest{Watch: true, Live: true})
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
	r.Now.Store(fakes.TestNow + 20*gatewaytest.Sec)
	if s := r.Live("alice")["alice"]; s.LiveScore != "220" || s.AsOf.AsTime().UnixNano() != fakes.TestNow+10*gatewaytest.Sec {
		t.Fatal(s)
	}
	r.NextPieces(r.Snapshots)
	if s, err := stream.Recv(); err != nil || s.LiveScore != "220" || s.AsOf.AsTime().UnixNano() != r.Now.Load() {
		t.Fatalf("%v, %v", s, err)
	}
}

// Whatever the rules and the holds, and whenever it is asked, a live figure is that
// of the facts.
func TestLiveReadsAgainstTheFacts(t *testing.T) {
	t.Parallel()
	for seed := range testseed.Seeds(t.Name(), testseed.Draws(25)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 3))
			rule := hold.PlainRule(hold.Policy(random.IntN(2)))
			rule.Multiplier = uint64(random.IntN(4)) * hold.MultiplierOne / 2
			rule.Shortest = random.Int64N(3) * random.Int64N(50) * gatewaytest.Sec
			rule.BoostBy = hold.BoostBy(random.IntN(2))
			for after := random.Int64N(30) * gatewaytest.Sec; len(rule.Boosts) < int(seed%4); after += (1 + random.Int64N(40)) * gatewaytest.Sec {
				rule.Boosts = append(rule.Boosts, hold.Boost{After: after, Factor: uint64(random.IntN(6)) * hold.MultiplierOne / 2})
			}
			if random.IntN(2) == 0 {
				rule.SeasonFrom = fakes.TestNow + (random.Int64N(100)-50)*gatewaytest.Sec
				rule.SeasonTo = rule.SeasonFrom + (1+random.Int64N(100))*gatewaytest.Sec
			}
			rules := oneRule{hold.PlainRules(hold.Merge), rule}
			r := gatewaytest.NewRanked(t, func(w *gatewaytest.World) { w.Cfg.Rules = rules })
			const now = fakes.TestNow / 1e9
			var drafts []hold.Draft
			facts := map[projection.PairKey][]hold.Fact{}
			for range 12 {
				start := now - random.Int64N(60)
				d := fakes.OpenHold([]string{"x", "y"}[random.IntN(2)], fmt.Sprint("h", random.IntN(3)), start, float64(1+random.IntN(3)))
				if random.IntN(3) > 0 {
					d.End = fakes.At(start + random.Int64N(120))
				}
				e, err := d.Check(fakes.TestNow, hold.Limits{MaxClockSkew: hold.MaxTime, MaxFutureEnd: hold.MaxTime})
				if err != nil {
					t.Fatal(err)
				}
				key := projection.PairKey{Holder: d.Holder, Token: d.Token}
				drafts, facts[key] = append(drafts, d), append(facts[key], e.Fact())
			}
			r.Take(drafts...)
			for range 15 {
				r.SetClock(r.Now.Load() + random.Int64N(20*gatewaytest.Sec) + random.Int64N(2))
				want := map[string]hold.Amount{}
				for key, some := range facts {
					pair := hold.NewPair(rules.Of(key.Token).Policy)
					for _, f := range some {
						pair.Add(f)
					}
					want[key.Holder] = want[key.Holder].Add(rules.Of(key.Token).LiveAt(pair, r.Now.Load()))
				}
				var stats map[string]*holdpb.HoldStat
				if random.IntN(2) == 0 {
					stats = r.Live()
				} else {
					stats = map[string]*holdpb.HoldStat{}
					for holder := range want {
						stats[holder] = r.Live(holder)[holder]
					}
				}
				for holder, w := range want {
					if s := stats[holder]; s.LiveScore != w.Score.String() || s.LiveHeld != w.Held.String() || s.AsOf.AsTime().UnixNano() != r.Now.Load() {
						t.Fatalf("%s after %d: %v, want %v", holder, r.Now.Load()-fakes.TestNow, s, w)
					}
				}
			}
		})
	}
}
