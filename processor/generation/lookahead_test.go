package generation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

func (w *world) send(drafts ...hold.Draft) {
	w.t.Helper()
	p := ingest.NewProducer(w.log, ingest.ProducerOptions{Limits: hold.DefaultLimits()})
	for i := range drafts {
		if _, err := p.Record(w.t.Context(), &drafts[i]); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := p.Close(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// What two generations know of the time behind the last event is compared too: today
// they say the same of every one of these holders.
func TestCompareLookahead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.process("a")
	start := time.Now().Add(4 * time.Minute).Unix() // beyond the clock of the log, within its limits
	at := func(seconds int64) hold.Stamp { return hold.StampOf(seconds * 1e9) }
	w.send(
		// One that comes, after one that is there, and before an event that both take.
		hold.Draft{Token: "IDS", Holder: "comes", HoldID: "x", Start: at(100), End: at(200)},
		hold.Draft{Token: "IDS", Holder: "comes", Start: at(start)},
		hold.Draft{Token: "IDS", Holder: "comes", HoldID: "y", Start: at(300), End: at(310)},
		// Two that come, of which both know the first, and the other one adds nothing.
		hold.Draft{Token: "IDS", Holder: "later", HoldID: "x", Start: at(start - 60)},
		hold.Draft{Token: "IDS", Holder: "later", Start: at(start)},
		hold.Draft{Token: "IDS", Holder: "later", HoldID: "y", Start: at(300), End: at(310)},
		// A hold whose season ends, and one that becomes worth more.
		hold.Draft{Token: "SEASON", Holder: "season", Start: at(100)},
		hold.Draft{Token: "STEPS", Holder: "steps", Start: at(100)},
		// Breaks ahead of which both know.
		hold.Draft{Token: "T", Holder: "same", Start: at(start)},
		hold.Draft{Token: "T", Holder: "same", Start: at(100)},
		hold.Draft{Token: "T", Holder: "plain", Start: at(100)},
	)
	w.create(Record{Name: "same", Version: hold.NoRulesVersion})
	w.create(Record{Name: "other", Version: "2", Rules: `tokens:
  - token: IDS
    hold_ids: required
  - token: SEASON
    season: {from: 1970-01-01T00:00:01Z, to: 2100-01-01}
  - token: STEPS
    boosts: {by: run, steps: [{after: 36500d, factor: 2}]}
`})
	for _, name := range []string{"same", "other"} {
		w.until(name+" is built", w.built(name))
	}
	if tally, found := w.compare(First, "same"); tally.Holders != 6 || len(found) != 0 {
		t.Errorf("%+v: %+v", tally, found)
	}
	tally, found := w.compare(First, "other")
	var said []string
	for _, d := range found {
		for _, f := range d.Figures {
			said = append(said, fmt.Sprintf("%s: %s: %s, %s (%s)", d.Holder, f.Name, f.A, f.B, strings.Join(d.Tokens, " ")))
		}
	}
	slices.Sort(said)
	comes := instant(start * 1e9)
	want := []string{
		"comes: rate of IDS from " + comes + ": 1, 0 (IDS)",
		"season: rate of SEASON from 2100-01-01T00:00:00Z: 1, 0 (SEASON)",
		"steps: rate of STEPS from " + instant((100+36500*86400)*1e9) + ": 1, 2 (STEPS)",
	}
	if tally.Holders != 6 || tally.Different != 3 || !slices.Equal(said, want) {
		t.Errorf("%+v:\n%s\nwant:\n%s", tally, strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}

// More breaks than one answer tells need several.
func TestCompareManyBreaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.process("a")
	start := time.Now().Add(4 * time.Minute).UnixNano()
	var drafts []hold.Draft
	for i := range int64(2*slopesMost + 10) {
		drafts = append(drafts, hold.Draft{Token: "SUM", Holder: "h", Start: hold.StampOf(start + i), HoldID: fmt.Sprint(i)})
	}
	last := start + int64(len(drafts)) - 1
	drafts[len(drafts)-1].HoldID = ""
	w.send(append(drafts, hold.Draft{Token: "SUM", Holder: "h", HoldID: "x", Start: hold.StampOf(1e9), End: hold.StampOf(2e9)})...)
	ids := "tokens:\n  - token: SUM\n    policy: sum\n"
	w.create(Record{Name: "all", Version: "2", Rules: ids})
	w.create(Record{Name: "ids", Version: "3", Rules: ids + "    hold_ids: required\n"})
	for _, name := range []string{"all", "ids"} {
		w.until(name+" is built", w.built(name))
	}
	_, found := w.compare("all", "ids")
	n := fmt.Sprint(len(drafts))
	fewer := fmt.Sprint(len(drafts) - 1)
	if len(found) != 1 || len(found[0].Figures) != 1 || found[0].Figures[0] != (Figure{"rate of SUM from " + instant(last), n, fewer}) {
		t.Errorf("%+v", found)
	}
}
