package watch

import (
	"fmt"
	"slices"

	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// nameList is a list of names in two pieces of memory: a name costs its bytes and four
// more. Nobody knows how long a watch lasts, and it may be of a thousand holders.
type nameList struct {
	text string
	ends []uint32
}

func newNameList(names []string) nameList {
	size := 0
	for _, n := range names {
		size += len(n)
	}
	text, ends := make([]byte, 0, size), make([]uint32, 0, len(names))
	for _, n := range names {
		text = append(text, n...)
		ends = append(ends, uint32(len(text)))
	}
	return nameList{string(text), ends}
}

func (l *nameList) len() int { return len(l.ends) }

// at returns a name, which shares the list's memory.
func (l *nameList) at(i int) string {
	from := uint32(0)
	if i > 0 {
		from = l.ends[i-1]
	}
	return l.text[from:l.ends[i]]
}

// all returns the names.
func (l *nameList) all() []string {
	names := make([]string, l.len())
	for i := range names {
		names[i] = l.at(i)
	}
	return names
}

func (l *nameList) equal(o *nameList) bool {
	return l.text == o.text && slices.Equal(l.ends, o.ends)
}

// keysOf returns the keys of holders as rules have them. It is the list of the holders
// itself, where each is its own key.
func keysOf(holders *nameList, rules hold.Rules) nameList {
	named := query.StatsQuery{Holders: holders.all()}
	keys := named.Named(rules).Holders
	for i, h := range keys {
		keys[i] = ingest.SubjectToken(h)
	}
	if list := newNameList(keys); !list.equal(holders) {
		return list
	}
	return *holders
}

// Bounds are how much may be watched. A zero stands for the default.
type Bounds struct {
	Watches     int // at once
	WatchesEach int // of one client
	Names       int // holders that watches name, together
	NamesEach   int // of one client
}

// The defaults of [Bounds]. A name that is watched takes about 50 bytes beside itself.
const (
	DefaultWatches     = 64 << 10
	DefaultWatchesEach = 16 << 10
	DefaultNames       = 1_000_000
	DefaultNamesEach   = 250_000
)

func (b Bounds) withDefaults() Bounds {
	for _, f := range []struct {
		field *int
		value int
	}{{&b.Watches, DefaultWatches}, {&b.WatchesEach, DefaultWatchesEach}, {&b.Names, DefaultNames}, {&b.NamesEach, DefaultNamesEach}} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return b
}

// check returns an error that wraps [ErrTooMany] if a watch of so many names would be
// beyond the bounds.
func (b *Bounds) check(all, client usage, names int) error {
	switch {
	case all.watches >= b.Watches:
		return fmt.Errorf("%w: %d watches are open, which is all that this server takes: end some, or watch several holders with one", ErrTooMany, all.watches)
	case client.watches >= b.WatchesEach:
		return fmt.Errorf("%w: this client has %d watches open, which is its share: end some, or watch several holders with one", ErrTooMany, client.watches)
	case all.names+names > b.Names:
		return fmt.Errorf("%w: %d holders are watched by name, and this server takes %d: watch all holders, or fewer", ErrTooMany, all.names, b.Names)
	case client.names+names > b.NamesEach:
		return fmt.Errorf("%w: this client watches %d holders by name, and its share is %d: watch all holders, or fewer", ErrTooMany, client.names, b.NamesEach)
	}
	return nil
}

// usage is how much is watched.
type usage struct{ watches, names int }

func (u *usage) add(names, times int) {
	u.watches += times
	u.names += names * times
}
