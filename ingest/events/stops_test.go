package events

import (
	"errors"
	"strings"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
)

func TestAStopWithAWeight(t *testing.T) {
	t.Parallel()
	const header = "token_id,holder_id,start,end,weight,weight_exact,hold_id\n"
	for name, tt := range map[string]struct {
		lines []string
		line  int // that is refused; 0: none
	}{
		"of a part":               {[]string{"T,a,1,,100,,", "T,a,,3,40,,"}, 3},
		"of all":                  {[]string{"T,a,1,,100,,", "T,a,,3,,100.0,"}, 0},
		"of nothing":              {[]string{"T,a,,3,40,,"}, 2},
		"of another lot":          {[]string{"T,a,1,,100,,", "T,a,2,,40,,", "T,a,,3,100,,"}, 4},
		"of the lot that it ends": {[]string{"T,a,1,,100,,", "T,a,2,,40,,", "T,a,,3,40,,", "T,a,,4,100,,"}, 0},
		"of another holder":       {[]string{"T,b,1,,40,,", "T,a,,3,40,,"}, 3},
		"of another id":           {[]string{"T,a,1,,40,,x", "T,a,,3,40,,y"}, 3},
		"of its id":               {[]string{"T,a,1,,40,,x", "T,a,,3,40,,x"}, 0},
		"none":                    {[]string{"T,a,1,,40,,", "T,a,,3,,,"}, 0},
		"of a weight not given":   {[]string{"T,a,1,,,,", "T,a,,3,1,,"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(t, write(t, header+strings.Join(tt.lines, "\n")+"\n"))
			var at *rows.Error
			if tt.line == 0 {
				if err != nil || len(got) != len(tt.lines) || got[len(got)-1].Draft.WeightGiven || got[len(got)-1].Draft.WeightExact != "" {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if !errors.Is(err, hold.ErrStopWeight) || !errors.As(err, &at) || at.Place.Line != tt.line || !strings.Contains(err.Error(), "weight does not go with a stop: a stop ends the whole hold") {
				t.Errorf("%v, want line %d refused", err, tt.line)
			}
		})
	}
}
