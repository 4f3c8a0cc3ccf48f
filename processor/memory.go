package processor

// Of the memory that the process may use, the cache is given a quarter by
// default, and what is applied but not flushed a sixteenth, most of which the
// cache has counted already. The collector may let the heap grow to twice of
// what is live, which is half; the other half is for the store's blocks, the
// broker and the view of the snapshots, which one process may hold as well.
const (
	cacheShare = 4
	flushShare = 16
)
