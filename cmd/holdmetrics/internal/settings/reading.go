package settings

import (
	"fmt"
	"strconv"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
)

// The keys of the bounds of what clients may read and watch at once.
const (
	keyReads       = "max-reads"
	keyReadsEach   = "max-reads-client"
	keyReadWait    = "read-wait"
	keyHistoryCost = "max-history-cost"
	keyWatches     = "max-watches"
	keyWatchesEach = "max-watches-client"
	keyNames       = "max-watched-names"
	keyNamesEach   = "max-watched-names-client"
)

// readingFlags adds the flags of the bounds of reads and watches. Each says what a client gets beyond it.
func readingFlags(f *pflag.FlagSet) {
	f.Int(keyReads, query.DefaultReads, "reads at once of all scores, of the holds behind a score and of histories; more of them wait, then get 429 or RESOURCE_EXHAUSTED (MAX_READS)")
	f.Int(keyReadsEach, query.DefaultReadsEach, "of those, reads of one client, which is an address: raise it behind a proxy (MAX_READS_CLIENT)")
	wait := Duration(query.DefaultReadWait)
	f.Var(&wait, keyReadWait, "how long a read waits for others before it gets 429 or RESOURCE_EXHAUSTED (READ_WAIT)")
	f.Int64(keyHistoryCost, query.DefaultHistoryCost, "readings of a holder's pairs that one history may take; beyond it gets 422 or INVALID_ARGUMENT (MAX_HISTORY_COST)")
	f.Int(keyWatches, watch.DefaultWatches, "watches at once; more get 429 or RESOURCE_EXHAUSTED (MAX_WATCHES)")
	f.Int(keyWatchesEach, watch.DefaultWatchesEach, "of those, watches of one client (MAX_WATCHES_CLIENT)")
	f.Int(keyNames, watch.DefaultNames, "holders that watches name at once, each of 50 bytes and its name; more get 429 or RESOURCE_EXHAUSTED (MAX_WATCHED_NAMES)")
	f.Int(keyNamesEach, watch.DefaultNamesEach, "of those, holders that one client names (MAX_WATCHED_NAMES_CLIENT)")
}

// parseReading reads these bounds, if there are flags for them.
func (s *Settings) parseReading(k *koanf.Koanf, has func(string) bool, bad func(string, error) error) error {
	if !has(keyReads) {
		return nil
	}
	wait, err := ParseDuration(k.String(keyReadWait))
	if err == nil && wait == 0 {
		err = errDuration
	}
	if err != nil {
		return bad(keyReadWait, fmt.Errorf("%q: %w", k.String(keyReadWait), err))
	}
	s.Reads.Wait = wait
	if s.Reads.HistoryCost, err = strconv.ParseInt(k.String(keyHistoryCost), 10, 64); err != nil || s.Reads.HistoryCost < 1 {
		return bad(keyHistoryCost, fmt.Errorf("%q is not a whole number from 1", k.String(keyHistoryCost)))
	}
	for _, n := range []struct {
		key string
		to  *int
	}{
		{keyReads, &s.Reads.Reads}, {keyReadsEach, &s.Reads.ReadsEach},
		{keyWatches, &s.Watches.Watches}, {keyWatchesEach, &s.Watches.WatchesEach},
		{keyNames, &s.Watches.Names}, {keyNamesEach, &s.Watches.NamesEach},
	} {
		const most = 1 << 30
		value, err := strconv.Atoi(k.String(n.key))
		if err != nil || value < 1 || value > most {
			return bad(n.key, fmt.Errorf("%q is not a whole number from 1 to %d", k.String(n.key), most))
		}
		*n.to = value
	}
	return nil
}
