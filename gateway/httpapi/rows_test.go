package httpapi

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"testing"
)

// No id of an answer in CSV is a formula to a spreadsheet.
func TestCSVRowsHaveNoFormulas(t *testing.T) {
	t.Parallel()
	type row struct {
		Holder string  `json:"holder_id"`
		Score  string  `json:"score"`
		Double float64 `json:"score_double"`
	}
	var out bytes.Buffer
	w := rowWriter{format: formatCSV, out: bufio.NewWriter(&out), header: http.Header{}, columns: columnsOf(reflect.TypeFor[row]())}
	for _, r := range []row{{"=1+1", "-5", -5}, {"+a,b", "1", 1}, {"'=x", "0", 0}, {"a;=1", "2", 2}, {"-7", "3", 3}} {
		if err := w.write(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	const want = "holder_id,score,score_double\n'=1+1,-5,-5\n\"'+a,b\",1,1\n''=x,0,0\n\"a;=1\",2,2\n-7,3,3\n"
	if got := out.String(); got != want {
		t.Errorf("the answer is\n%s\nwant\n%s", got, want)
	}
}
