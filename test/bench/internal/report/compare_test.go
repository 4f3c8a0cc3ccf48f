package report

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	rate := func(v float64) Line { return Line{Name: "a", Value: v, Unit: "events/s"} }
	took := func(v float64) Line { return Line{Name: "a", Value: v, Unit: "ms"} }
	peer := func(v, peer float64) Line {
		return Line{Name: "a", Value: v, Unit: "events/s", Against: "x", AgainstValue: peer}
	}
	spread := func(l Line, least, most float64) Line {
		l.Repetitions, l.Least, l.Most = 3, least, most
		return l
	}
	for name, c := range map[string]struct {
		kept, now Line
		want      Verdict
	}{
		"the same":                             {rate(100), rate(100), Same},
		"a little less":                        {rate(100), rate(96), Same},
		"a lower rate":                         {rate(100), rate(94), Worsened},
		"a higher rate":                        {rate(100), rate(106), Better},
		"a longer time":                        {took(100), took(106), Worsened},
		"a shorter time":                       {took(100), took(94), Better},
		"within the kept run's spread":         {spread(rate(100), 80, 110), rate(75), Same},
		"beyond the kept run's spread":         {spread(rate(100), 80, 110), rate(65), Worsened},
		"within this run's spread":             {rate(100), spread(rate(80), 70, 95), Same},
		"half as fast on half a machine":       {peer(100, 10), peer(50, 5), Same},
		"as fast, while the peer got faster":   {peer(100, 10), peer(100, 20), Worsened},
		"skipped now":                          {rate(100), Line{Name: "a", Unit: "events/s", Skipped: "no Java"}, NoFigure},
		"nothing was measured in the kept run": {rate(0), rate(5), NoFigure},
		"void":                                 {rate(100), Line{Name: "a", Unit: "events/s", Value: 100, Void: true}, NoFigure},
	} {
		got := Compare([]Line{c.kept}, []Line{c.now})
		if len(got) != 1 || got[0].Verdict != c.want {
			t.Errorf("%s: %+v, want %s", name, got, c.want)
		}
	}
}

// What only one of the runs has is named, and is no regression.
func TestCompareOtherLines(t *testing.T) {
	t.Parallel()
	got := Compare([]Line{named("gone", 1, "x"), named("both", 1, "x")}, []Line{named("both", 1, "x"), named("both", 1, "y")})
	var verdicts []Verdict
	for _, c := range got {
		verdicts = append(verdicts, c.Verdict)
	}
	if diff := cmp.Diff([]Verdict{Same, Added, Gone}, verdicts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := Worse(got); n != 0 {
		t.Errorf("%d are worse", n)
	}
}

func TestPrintChanges(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	changes := Compare(
		[]Line{{Name: "ingest", Value: 200, Unit: "events/s", Against: "one by one", AgainstValue: 100}, {Name: "lag", Value: 10, Unit: "ms"}, {Name: "rank", Value: 1, Unit: "ms"}},
		[]Line{{Name: "ingest", Value: 100, Unit: "events/s", Against: "one by one", AgainstValue: 100}, {Name: "lag", Value: 10, Unit: "ms"}, {Name: "top", Value: 3, Unit: "ms"}})
	if err := PrintChanges(&out, changes); err != nil {
		t.Fatal(err)
	}
	want := `
row     compared by          kept run  this run  change   spread  verdict
ingest  ratio to one by one  2         1         -50.0 %  5.0 %   worse
top     ms                   -         3         -        -       new
rank    ms                   1         -         -        -       gone
1 of 4 lines are within the spread
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := Worse(changes); n != 1 {
		t.Errorf("%d are worse", n)
	}
}

// A comparison finds no difference in a table that was written and read again.
func TestReadFile(t *testing.T) {
	t.Parallel()
	lines := Medians([][]Line{tableLines(), tableLines(), tableLines()})
	text, err := JSON(lines)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kept.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Compare(kept, lines) {
		if c.Verdict != Same || c.Change != 0 || math.IsNaN(c.Old) {
			t.Errorf("%+v", c)
		}
	}
	if err := os.WriteFile(file, []byte("row  value"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(file); err == nil {
		t.Error("a file that is no table is read")
	}
}
