// Package crash kills holdmetrics and looks whether it lost anything.
//
// The processes are real ones. While producers send events over and over, out of
// order and twice, a process at a time is killed (SIGKILL), held (SIGSTOP) or
// asked to stop (SIGTERM), at moments that a printed seed decides, and started
// again. At the end every event that was acknowledged counts exactly once: what
// the store and the snapshots say of every pair and holder is compared with a fold
// of the same events by hold alone, in this process. No watcher may
// have seen a holder's position step back, and no partition may have been given up.
//
//   - TestServe does so to the one process of serve.
//   - TestProduction does it to a cluster: two workers, two gateways, three brokers
//     and a database.
//   - TestSleeper has a worker of a cluster sleep through its leases, and compares
//     every byte of database and bucket before and after it wakes.
//   - TestHandover tells how long it takes until others own what a worker had that
//     was stopped or killed, and how long an event waits meanwhile.
//   - TestRollingUpgrade replaces the processes of a cluster of the last release (see
//     build.LastRelease) by those of this program. It is skipped without one.
//   - TestBadDays damages files of the log, the snapshots and the store, fills the disk,
//     takes memory, files and time away, and lets the network stall. Each day is one
//     server, and its seed draws what happens. A day ends right if the figures are those
//     of the acknowledged events, honest if the server says that they are not, and
//     wrong, with its directory kept, in any other way.
//
// Short runs are part of the tests; those with a cluster are skipped where there is no
// database to start (see package mongotest). The long ones are
//
//	make crash
//	make crash ARGS="-kills 500 -seed 7"
//	make crash ARGS="-run TestProduction -seed 7"
//	make crash ARGS="-run TestBadDays -days 500 -seed 7"
//	make crash ARGS="-run TestBadDays -days 20 -kind 'full disk'"
//
// A run that failed is tried again with its seed. The moments are counted in
// acknowledgements, so they are about the same ones; what the machine does in
// between is not for the seed to decide. Waiting ends when nothing moves any more,
// not when it is late.
package crash
