// Package generation keeps several generations of the projections beside one another:
// it records them, runs them, compares them, and switches readers from one to another.
//
// A generation is a set of projections made from the log by one set of rules: a store
// namespace, a snapshot bucket and a lease bucket of its own, all named after it.
//
// # Records
//
// A [Registry] is the NATS key-value bucket HOLD_META. Its keys are:
//
//	gen.<name>              a [Record]: rules, last position, what is to be done with it
//	active                  an [Active]: the generation that is read, and the one before it
//	prepare                 a [Prepare]: the generation that gateways are to load
//	door.<id>               a [GatewayState]: what a gateway has loaded; expires with the gateway
//	build.<name>.<worker>   a [Progress]: how far a worker is; expires with the worker
//
// A switch is two writes. `prepare` names the next generation; each gateway loads its
// snapshots beside those it serves, and reports that under its own key. When all have,
// `active` names it, and each gateway moves all its readers at once.
//
// # Supervision
//
// A [Supervisor] runs, in one process, a worker for each generation on record. It starts
// and stops them as records come and go.
//
//	records ─▶ Supervisor ─┬─ "1": store, snapshots, worker, replies
//	                       └─ "2": store, snapshots, worker, replies
//
// New events flow into all of them. The active generation writes dead letters, and so
// does the one that gateways are about to switch to; the others only count them. All
// share the memory limits of the process.
//
// Each process reports its progress to the registry for as long as it works on a
// generation. A dropped generation is free when no progress of it is left. Then one
// process removes what they shared, and at last the record.
//
// # Switching
//
// A [Follower] makes a [Gateway] follow the registry. An [Operator] does what people ask:
// it requests and drops generations, compares two of them, and does the two writes of a
// switch, each when all gateways and workers are ready for it.
package generation
