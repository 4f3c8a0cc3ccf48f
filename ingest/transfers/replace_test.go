package transfers

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
	"holdmetrics/internal/testseed"
)

type pair struct{ token, holder string }

// world is what a server has after imports: the facts of every pair.
type world map[pair][]hold.Fact

func (w world) send(t *testing.T, l *Ledger, events func(func(rows.Event, error) bool)) {
	t.Helper()
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		checked, err := e.Draft.Check(math.MaxInt64, hold.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		key := pair{strings.Clone(checked.Token), strings.Clone(checked.Holder)}
		w[key] = append(w[key], checked.Fact())
	}
}

func (w world) importFiles(t *testing.T, opening string, files ...string) *Ledger {
	t.Helper()
	l := ledger(t, opening)
	w.send(t, l, l.Events(t.Context(), files...))
	return l
}

func ledger(t *testing.T, opening string) *Ledger {
	t.Helper()
	l, err := New(Options{Columns: DefaultColumns()})
	if err != nil {
		t.Fatal(err)
	}
	if opening != "" {
		if err := l.LoadOpening(opening); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// state is the canonical state: figures at several times, of pairs that have any.
func (w world) state() []string {
	var all []string
	for key, facts := range w {
		p := hold.PairFromFacts(hold.Merge, slices.Values(facts))
		if last := p.Figures(1e12); last.Waiting != 0 {
			all = append(all, fmt.Sprintf("%v waits for %d", key, last.Waiting))
		} else if last.Line.Base.Score.String() == "0" {
			continue
		}
		for at := int64(0); at < 80e9; at += 3e9 {
			all = append(all, fmt.Sprintf("%v at %d: %+v", key, at, p.Figures(at)))
		}
	}
	slices.Sort(all)
	return all
}

// chain makes random rows of transfers, so that nobody sends what he does not have,
// from one time to another, and changes the balances as they do.
func chain(r *rand.Rand, balances map[string]int, from, to int) []string {
	var out []string
	for at := from; at < to; at++ {
		for range r.IntN(3) {
			holders := slices.SortedFunc(maps.Keys(balances), cmp.Compare[string])
			to := fmt.Sprintf("h%d", r.IntN(5))
			if len(holders) == 0 || r.IntN(4) == 0 {
				n := 1 + r.IntN(3)
				out = append(out, fmt.Sprintf("T,zero,%s,%d,%d", to, n, at))
				balances[to] += n
				continue
			}
			sender := holders[r.IntN(len(holders))]
			n := 1 + r.IntN(balances[sender])
			out = append(out, fmt.Sprintf("T,%s,%s,%d,%d", sender, to, n, at))
			if balances[sender] -= n; balances[sender] == 0 {
				delete(balances, sender)
			}
			balances[to] += n
		}
	}
	return out
}

// A reorganisation ends in the same state as if the abandoned branch had never been
// sent: whatever came before, however much the branches share, and whatever follows.
func TestReplaceIsAsIfNeverSent(t *testing.T) {
	t.Parallel()
	skipped, most := uint64(0), testseed.Draws(100)
	for seed := range testseed.Seeds(t.Name(), most) {
		r := rand.New(rand.NewPCG(seed, 21))
		balances := map[string]int{}
		past := file(t, "past.csv", chain(r, balances, 1, 10)...)
		shared := chain(r, balances, 10, 10+r.IntN(4)) // in both branches
		other := maps.Clone(balances)
		old := file(t, "old.csv", append(slices.Clone(shared), chain(r, other, 14, 14+r.IntN(8))...)...)
		young := file(t, "new.csv", append(slices.Clone(shared), chain(r, balances, 14, 23+r.IntN(4))...)...)
		opening, closing := filepath.Join(t.TempDir(), "opening.csv"), filepath.Join(t.TempDir(), "closing.csv")

		got, want := world{}, world{}
		if err := got.importFiles(t, "", past).SaveClosing(opening); err != nil {
			t.Fatal(err)
		}
		got.importFiles(t, opening, old)
		l := ledger(t, opening)
		branch := func(yield func(rows.Event, error) bool) {
			l.Replace(t.Context(), ledger(t, opening), []string{old}, []string{young})(yield)
		}
		var beyond *rows.Event
		for e, err := range branch {
			if errors.Is(err, ErrBranch) {
				beyond = &e
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if beyond != nil { // few rows at the end of the new branch
			skipped++
			continue
		}
		for range 2 { // interrupted, and run again
			l = ledger(t, opening)
			got.send(t, l, branch)
		}
		if err := l.SaveClosing(closing); err != nil {
			t.Fatal(err)
		}
		future := file(t, "future.csv", chain(r, balances, 27, 40)...)
		got.importFiles(t, closing, future)

		want.importFiles(t, "", past)
		want.importFiles(t, opening, young)
		want.importFiles(t, closing, future)
		if a, b := want.state(), got.state(); !slices.Equal(a, b) {
			for i := range max(len(a), len(b)) {
				if i >= len(a) || i >= len(b) || a[i] != b[i] {
					t.Fatalf("seed %d: state %d:\n%q, want\n%q", seed, i, b[min(i, len(b)-1)], a[min(i, len(a)-1)])
				}
			}
		}
	}
	if skipped > most/5 {
		t.Errorf("%d of %d were skipped", skipped, most)
	}
}

func TestReplaceSaysOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	old := file(t, "old.csv", "T,zero,a,5,10", "T,a,b,2,20")
	young := file(t, "new.csv", "T,zero,a,5,10", "T,a,c,1,20")
	l := ledger(t, "")
	var got []string
	for e, err := range l.Replace(t.Context(), ledger(t, ""), []string{old}, []string{young}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s retract=%t", say(e), e.Draft.Retract))
	}
	want := []string{"T a 20-open x3 retract=true", "T b 20-open x2 retract=true", "T a 20-open x4 retract=false", "T c 20-open x1 retract=false"}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestReplaceRefuses(t *testing.T) {
	t.Parallel()
	old := file(t, "old.csv", "T,zero,a,5,10", "T,a,b,2,20")
	for name, c := range map[string]struct {
		old, young string
		want       error
	}{
		"a branch that ends before": {old, file(t, "n.csv", "T,zero,a,5,10", "T,a,c,1,19"), ErrBranch},
		"a bad new row":             {old, file(t, "n.csv", "T,zero,a,5,10", "T,a,c,9,20"), ErrOverdraw},
		"a bad old row":             {file(t, "o.csv", "T,a,b,9,10"), old, ErrOverdraw},
	} {
		events := 0
		var err error
		for _, err = range ledger(t, "").Replace(t.Context(), ledger(t, ""), []string{c.old}, []string{c.young}) {
			if err == nil {
				events++
			}
		}
		if !errors.Is(err, c.want) || events > 0 {
			t.Errorf("%s: %v after %d events", name, err, events)
		}
	}
}

// What was retracted once is refused when a later branch comes to it again, however
// many branches were between, and nothing is sent then; else a second reorganisation
// is as the first.
func TestReplaceRefusesWhatWasRetracted(t *testing.T) {
	t.Parallel()
	replace := func(old, young string) (events []rows.Event, err error) {
		for e, err := range ledger(t, "").Replace(t.Context(), ledger(t, ""), []string{old}, []string{young}) {
			if err != nil {
				return events, err
			}
			events = append(events, e)
		}
		return events, nil
	}
	const mint = "T,zero,a,5,10"
	one := file(t, "one.csv", mint, "T,a,b,2,20")
	two := file(t, "two.csv", mint, "T,a,c,1,20")
	three := file(t, "three.csv", mint, "T,a,d,1,21")
	for range 2 { // run again, it says the same
		if events, err := replace(one, two); err != nil || len(events) != 4 {
			t.Fatal(events, err)
		}
	}
	for name, rows := range map[string][]string{
		"the branch itself":         {mint, "T,a,b,2,20"},
		"one change of one balance": {mint, "T,a,e,1,20", "T,zero,b,2,20"},
		"the sender's":              {mint, "T,a,e,2,20"},
	} {
		if events, err := replace(two, file(t, "again.csv", rows...)); !errors.Is(err, ErrRetracted) || len(events) > 0 {
			t.Errorf("%s: %v, %v", name, events, err)
		}
	}
	if events, err := replace(two, three); err != nil || len(events) != 6 {
		t.Fatal(events, err)
	}
	for _, abandoned := range []string{one, two} {
		if events, err := replace(three, file(t, "back.csv", mint, map[string]string{one: "T,a,b,2,20", two: "T,a,c,1,20"}[abandoned], "T,zero,z,1,22")); !errors.Is(err, ErrRetracted) || len(events) > 0 {
			t.Errorf("back to %s: %v, %v", abandoned, events, err)
		}
	}
	list := RetractedName(three)
	text, err := os.ReadFile(list)
	if err != nil || strings.Count(string(text), "\n") != 5 {
		t.Fatalf("%s, %v", text, err)
	}
	if err := os.WriteFile(list, append(text, "{}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := replace(three, file(t, "four.csv", mint, "T,a,y,1,22")); err == nil || !strings.Contains(err.Error(), "line 6") {
		t.Errorf("a damaged list: %v", err)
	}
}

// A series of reorganisations that is not refused ends as if only the last branch had
// ever been sent.
func TestReplaceAgainIsAsIfNeverSent(t *testing.T) {
	t.Parallel()
	refused, done := 0, 0
	most := int(testseed.Draws(80))
	for seed := range uint64(most) {
		r := rand.New(rand.NewPCG(seed, 22))
		balances := map[string]int{}
		past := chain(r, balances, 1, 6)
		got, want := world{}, world{}
		var files []string
		for i := range 3 {
			branch := chain(r, maps.Clone(balances), 6, 9)
			branch = append(branch, fmt.Sprintf("T,zero,end,1,%d", 20+i))
			files = append(files, file(t, fmt.Sprintf("b%d.csv", i), append(slices.Clone(past), branch...)...))
		}
		got.importFiles(t, "", files[0])
		var err error
		for i := range 2 {
			for e, failure := range ledger(t, "").Replace(t.Context(), ledger(t, ""), files[i:i+1], files[i+1:i+2]) {
				if err = failure; err != nil {
					break
				}
				got.send(t, nil, func(yield func(rows.Event, error) bool) { yield(e, nil) })
			}
			if err != nil {
				break
			}
		}
		if errors.Is(err, ErrRetracted) {
			refused++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		done++
		want.importFiles(t, "", files[2])
		if a, b := want.state(), got.state(); !slices.Equal(a, b) {
			t.Fatalf("seed %d:\n%q, want\n%q", seed, b, a)
		}
	}
	if refused < most/16 || done < most/16 {
		t.Errorf("%d were refused, and %d done", refused, done)
	}
}
