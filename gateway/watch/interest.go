package watch

import (
	"hash/maphash"
	"sync/atomic"

	"holdmetrics/gateway/query"
	"holdmetrics/projection"
)

// interest is what is watched, for those who show snapshots: they show it first. It is
// read without a lock for every holder that changes. So it keeps counts by hashes of keys,
// and two keys of one hash stand for each other.
type interest struct {
	all  atomic.Int64 // watchers of all holders
	some []atomic.Int32
	seed maphash.Seed
}

const interestPlaces = 1 << 14

func (i *interest) init() { i.some, i.seed = make([]atomic.Int32, interestPlaces), maphash.MakeSeed() }

func (i *interest) at(key string) *atomic.Int32 {
	return &i.some[maphash.String(i.seed, key)%interestPlaces]
}

func (i *interest) add(key string, n int32) { i.at(key).Add(n) }

// WatchesAll implements projection.Watched.
func (i *interest) WatchesAll() bool { return i.all.Load() > 0 }

// Watches implements projection.Watched.
func (i *interest) Watches(key string) bool { return i.at(key).Load() > 0 }

// tell has snapshots shown by what is watched, if somebody paces them by that.
func (i *interest) tell(s query.Snapshots) {
	if paced, ok := s.(interface{ WatchedBy(w projection.Watched) }); ok {
		paced.WatchedBy(i)
	}
}
