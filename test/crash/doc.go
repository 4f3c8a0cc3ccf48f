// Package crash kills holdmetrics and looks whether it lost anything.
//
// The processes are real ones. While producers send events over and over, out of
// order and twice, a process at a time is killed (SIGKILL), held (SIGSTOP) or
// asked to stop (SIGTERM), at moments that a printed seed decides, and started
// again. At the end every event that was acknowledged counts exactly once: what
// the store and the snapshots say of every pair and holder is compared with a fold
// of the same events by processor/hold alone, in this process. No watcher may
// have seen a holder's position step back.
//
// A short run, of serve alone, is part of the tests. A long one, also of two
// workers and two gateways on three brokers and a database:
//
//	make crash
//	make crash ARGS="-kills 500 -seed 7"
//
// A run that failed is tried again with its seed. The moments are counted in
// acknowledgements, so they are about the same ones; what the machine does in
// between is not for the seed to decide.
package crash
