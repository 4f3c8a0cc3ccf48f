// Command bench measures the whole path, part by part, each beside a ceiling or
// a peer that is measured in the same run, and prints one table.
//
//	go run ./test/bench [-rows a,b] [-repeat 3] [-quick] [-json FILE] [-profile DIR]
//
// # Processes
//
// It is run from within the module, since it builds the real program. The
// program re-executes itself, so that nothing measured shares a heap, a
// garbage collector or a scheduler with what loads it. Three kinds of children:
//
//	server   a broker, or a broker with the gateway (wired as serve does it)
//	load     makes events, sends them over loopback TCP and counts acknowledgements
//	work     measures a package by itself (score, apply, memory, pair, replay)
//
// Rows about the running system (sustained, freshness, cold start) start the
// real `holdmetrics serve`, built at the start. The bench process itself only
// waits. A child ends when its standard input does, so nothing outlives the
// program, however it ends; data is in one temporary directory, removed at the end.
//
// # Honesty
//
// Events are valid, distinct (no event repeats a fact, so nothing is skipped as
// a duplicate) and of some 80 bytes; those of one holder come in order unless a
// row says otherwise. All holders have as many events: every round visits each of
// them once, in a scattered order. That is the hardest case for a cache which is
// too small for all of them, since what is wanted next left longest ago; events
// of real holders, some far busier than others, are kinder. Rates are counted by acknowledgements and not by sends,
// over a window that begins after a warm-up, while sending goes on: what lies in
// buffers at the end is not counted. A peer gets the same events from the same
// generator. "fsync on" means that the broker syncs before it acknowledges
// (sync_interval: always), and that the store syncs each flush.
//
// Of several repetitions, the one with the median ratio is shown, value and peer
// of the same repetition side by side. The last column is the peak of memory: the largest
// resident set that one process of the row had, whether it loads or is measured. Everything runs on one machine: load and
// server share its cores, in a row as in its peer.
package main
