package hold_test

import (
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdmetrics/hold"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata (for its form; its truth comes from docs/semantics.md)")

// TestTranscripts runs testdata/*.txt. The first of them
// says how to read them. Every paragraph is answered by the model and by the package, several ways: the pair
// that took the events one by one, one made from its facts, and one opened from
// its pages; the answers and the expected output must all be the same.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			runTranscript(t, file)
		})
	}
}

// block is a paragraph of a transcript.
type block struct {
	lines    []string // as they stand, comments too, without the expected output
	asks     bool     // has a ---- line
	expected string
}

func runTranscript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rewritten []string
	w := newWorld("merge")
	for paragraph := range strings.SplitSeq(strings.Trim(string(text), "\n"), "\n\n") {
		b := parseBlock(paragraph)
		name := caseName(b)
		if name != "" {
			w = newWorld("merge")
			w.name = name
		}
		got := w.run(t, b)
		if b.asks && !*update && got != b.expected {
			t.Errorf("%s: %s\n%s\nexpected:\n%s\ngot:\n%s", file, w.name, strings.Join(b.lines, "\n"), b.expected, got)
		}
		if b.asks {
			paragraph = strings.Join(b.lines, "\n") + "\n----\n" + got
		}
		rewritten = append(rewritten, strings.TrimRight(paragraph, "\n"))
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(rewritten, "\n\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func parseBlock(paragraph string) block {
	var b block
	var expected []string
	for line := range strings.SplitSeq(strings.Trim(paragraph, "\n"), "\n") {
		switch {
		case b.asks:
			expected = append(expected, line)
		case line == "----":
			b.asks = true
		default:
			b.lines = append(b.lines, line)
		}
	}
	b.expected = strings.Join(expected, "\n")
	return b
}

func caseName(b block) string {
	for _, line := range b.lines {
		if name, ok := strings.CutPrefix(line, "case "); ok {
			return name
		}
	}
	return ""
}

// world is what a case has said so far.
type world struct {
	name     string
	policies []hold.Policy
	rule     *hold.Rule // nil: the policies alone
	events   []hold.Event
}

func newWorld(policy string) *world {
	w := &world{}
	switch policy {
	case "merge":
		w.policies = []hold.Policy{hold.Merge}
	case "sum":
		w.policies = []hold.Policy{hold.Sum}
	case "both":
		w.policies = []hold.Policy{hold.Merge, hold.Sum}
	default:
		panic("no policy " + policy)
	}
	return w
}

// run takes a block's events and answers its questions.
func (w *world) run(t *testing.T, b block) string {
	t.Helper()
	var events []hold.Event
	var questions [][]string
	everyOrder := false
	for _, line := range b.lines {
		words := strings.Fields(line)
		if strings.HasPrefix(line, "#") || len(words) == 0 {
			continue
		}
		switch words[0] {
		case "case":
		case "pair":
			name := w.name
			*w = *newWorld(strings.TrimPrefix(words[1], "policy="))
			w.name = name
		case "rule":
			w.rule = parseRule(words)
		case "every":
			everyOrder = true
		case "hold", "stop", "retract", "lots":
			events = append(events, parseEvents(words)...)
		case "holds", "settled", "live", "line", "window", "waiting", "facts", "explain":
			questions = append(questions, words)
		default:
			t.Fatalf("%s: what is %q?", w.name, line)
		}
	}

	var expected string
	{
		views := map[hold.Policy]view{}
		for _, p := range w.policies {
			m := newModel(p)
			for _, e := range slices.Concat(w.events, events) {
				m.add(modelFact(e))
			}
			views[p] = modelView{m, m.state()}
		}
		expected = answer(w.byRule(views), w.policies, questions)
	}
	check := func(how string, order []hold.Event) {
		for way, views := range w.realViews(t, order) {
			if got := answer(w.byRule(views), w.policies, questions); got != expected {
				t.Fatalf("%s: %s, %s\n%s\nthe model says:\n%s\nthe package says:\n%s", w.name, how, way, strings.Join(b.lines, "\n"), expected, got)
			}
		}
	}
	if everyOrder {
		permutations(events, func(order []hold.Event) {
			check(fmt.Sprintf("in the order %v", order), slices.Concat(w.events, order))
		})
	} else {
		check("as written", slices.Concat(w.events, events))
	}
	w.events = append(w.events, events...)
	return expected
}

// permutations calls fn with every order of the events.
func permutations(events []hold.Event, fn func([]hold.Event)) {
	if len(events) > 6 {
		panic("too many events for every order")
	}
	order := slices.Clone(events)
	var place func(n int)
	place = func(n int) {
		if n == len(order) {
			fn(order)
			return
		}
		for i := n; i < len(order); i++ {
			order[n], order[i] = order[i], order[n]
			place(n + 1)
			order[n], order[i] = order[i], order[n]
		}
	}
	place(0)
}

// parseEvents reads `hold [id=a] [rev=2] FROM..[TO] [w=W]`, `stop [id=a] [rev=2]
// TO`, `retract` before either (or before `id=a [rev=2]`), `lots N` before a
// hold's words.
func parseEvents(words []string) []hold.Event {
	if words[0] == "lots" {
		n, err := strconv.Atoi(words[1])
		if err != nil {
			panic(err)
		}
		var out []hold.Event
		for i := range n {
			e := parseEvent(append([]string{"hold"}, words[2:]...))
			e.HoldID = "lot" + strconv.Itoa(i)
			out = append(out, e)
		}
		return out
	}
	return []hold.Event{parseEvent(words)}
}

func parseEvent(words []string) hold.Event {
	e := hold.Event{Token: "t", Holder: "h"}
	for _, word := range words {
		switch {
		case word == "hold" || word == "stop":
		case word == "retract":
			e.Retract = true
		case strings.HasPrefix(word, "id="):
			e.HoldID = word[3:]
		case strings.HasPrefix(word, "rev="):
			rev, err := strconv.ParseUint(word[4:], 10, 64)
			if err != nil {
				panic(err)
			}
			e.Revision = rev
		case strings.HasPrefix(word, "w="):
			e.HasWeight = true
			if word[2:] == "max" {
				word = "w=9999999999999999999999999999999999999.999999999999999999"
			}
			w, err := hold.ParseWeight(word[2:])
			if err != nil {
				panic(err)
			}
			e.Weight = w
		case strings.Contains(word, ".."):
			start, end, _ := strings.Cut(word, "..")
			e.Start = parseInstant(start)
			if end != "" {
				e.End = parseInstant(end)
			}
		default:
			e.End = parseInstant(word)
		}
	}
	return e
}

func parseInstant(s string) int64 {
	unit := int64(1_000_000_000)
	if ns, ok := strings.CutSuffix(s, "ns"); ok {
		s, unit = ns, 1
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return v * unit
}

func formatInstant(ns int64) string {
	if ns%1_000_000_000 == 0 {
		return strconv.FormatInt(ns/1_000_000_000, 10)
	}
	return strconv.FormatInt(ns, 10) + "ns"
}

// view answers questions about a pair: the model's or the package's.
type view interface {
	holds() []modelHold
	waiting() int
	facts() int
	settled() modelAmount
	settledAt(t int64) modelAmount
	live(t int64) modelAmount
	line(t int64) string
}

// answer is the output of the questions. Scores are asked of every policy; the
// holds, what waits and the facts must be the same under each.
func answer(views map[hold.Policy]view, policies []hold.Policy, questions [][]string) string {
	var out []string
	for _, q := range questions {
		var lines []string
		for i, p := range policies {
			v, label := views[p], ""
			if len(policies) > 1 {
				label = p.String() + " "
			}
			at := func(i int) int64 { return parseInstant(q[i]) }
			name := strings.Join(q, " ") + ": "
			switch q[0] {
			case "holds", "waiting", "facts":
				var l string
				switch q[0] {
				case "holds":
					l = formatHolds(v.holds())
				case "waiting":
					l = name + strconv.Itoa(v.waiting())
				case "facts":
					l = name + strconv.Itoa(v.facts())
				}
				if i > 0 && lines[0] != l {
					l += "\n(the policies disagree)"
				}
				lines = []string{l}
			case "settled":
				a := v.settled
				if len(q) > 1 {
					a = func() modelAmount { return v.settledAt(at(1)) }
				}
				lines = append(lines, label+name+a().String())
			case "live":
				lines = append(lines, label+name+v.live(at(1)).String())
			case "window":
				lines = append(lines, label+name+v.live(at(2)).sub(v.live(at(1))).String())
			case "explain":
				lines = append(lines, label+name+"\n"+v.(explains).explain(at(1), at(2)))
			case "line":
				lines = append(lines, label+name+v.line(at(1)))
			}
		}
		out = append(out, lines...)
	}
	return strings.Join(out, "\n")
}

func formatHolds(holds []modelHold) string {
	if len(holds) == 0 {
		return "no holds"
	}
	if len(holds) > 100 {
		return strconv.Itoa(len(holds)) + " holds"
	}
	var out []string
	for _, h := range holds {
		line := formatInstant(h.start) + ".."
		if h.end != 0 {
			line += formatInstant(h.end)
		}
		line += " w=" + decimal(modelWeight(h.weight), 18)
		if h.id != "" {
			line += " id=" + h.id
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func formatLine(now modelAmount, weight *big.Int, held int, until int64) string {
	s := now.String() + ", rate " + decimal(weight, 18) + " held rate " + strconv.Itoa(held)
	if until == 0 {
		return s + ", no end known"
	}
	return s + ", until " + formatInstant(until)
}

type modelView struct {
	m *model
	*modelState
}

func (v modelView) holds() []modelHold { return v.modelState.holds }
func (v modelView) waiting() int       { return v.modelState.waiting }
func (v modelView) facts() int         { return len(v.m.facts) }

func (v modelView) line(t int64) string {
	weight, held := v.slope(t)
	var until int64
	for _, b := range v.breaks() {
		if b > t {
			until = b
			break
		}
	}
	rate := 0
	if held {
		rate = 1
	}
	return formatLine(v.live(t), weight, rate, until)
}
