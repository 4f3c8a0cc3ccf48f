package settings

import (
	"strings"
	"testing"
	"time"

	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
)

// The bounds of reads and watches have defaults, are read from any layer, and name what
// is wrong with a value.
func TestReading(t *testing.T) {
	t.Parallel()
	s, err := Read(commandOf(t, nil, "serve"))
	if err != nil || s.Reads.Reads != query.DefaultReads || s.Reads.Wait != query.DefaultReadWait || s.Watches.NamesEach != watch.DefaultNamesEach {
		t.Errorf("%+v, %+v, %v", s.Reads, s.Watches, err)
	}
	s, err = Read(commandOf(t, map[string]string{"MAX_READS": "7", "READ_WAIT": "2s", "MAX_WATCHED_NAMES_CLIENT": "9"}, "gateway", "--max-reads-client", "3", "--max-history-cost", "5"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (query.Bounds{Reads: 7, ReadsEach: 3, Wait: 2 * time.Second, HistoryCost: 5}); s.Reads != want {
		t.Errorf("%+v, want %+v", s.Reads, want)
	}
	if s.Watches.NamesEach != 9 || s.Watches.Names != watch.DefaultNames {
		t.Errorf("%+v", s.Watches)
	}
	for name, args := range map[string][]string{
		"MAX_READS":        {"serve", "--max-reads", "0"},
		"MAX_WATCHES":      {"serve", "--max-watches", "-1"},
		"READ_WAIT":        {"serve", "--read-wait", "0"},
		"MAX_HISTORY_COST": {"gateway", "--max-history-cost", "0"},
	} {
		if _, err := Read(commandOf(t, nil, args[0], args[1:]...)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
