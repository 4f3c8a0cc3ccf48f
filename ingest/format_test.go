package ingest

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckFormat(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct {
		newer bool
		want  string
	}{
		"1": {}, "2": {true, "format 2, and this program reads up to 1"}, "77": {true, "format 77"},
		"": {false, "a number"}, "0": {false, "a number"}, "one": {false, "a number"}, "-1": {false, "a number"},
	} {
		err := checkFormat(map[string]string{metaFormat: text})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) || errors.Is(err, ErrLogFormat) != c.newer {
			t.Errorf("format %q gives %v", text, err)
		}
	}
	if err := checkFormat(map[string]string{metaLogID: "id"}); err != nil {
		t.Errorf("a log of the first versions gives %v", err)
	}
}
