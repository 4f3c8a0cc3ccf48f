// Package generations runs, in one process, a worker for every generation of the
// projections that there is, as package generation has them recorded: started and
// stopped as records come and go.
//
//	records ─▶ Supervisor ─┬─ "1": store, snapshots, worker, answers
//	                       └─ "2": store, snapshots, worker, answers
//
// New events flow into all of them. The active generation writes dead letters, and
// so does one that doors are about to switch to; the others count. They share the
// process's bounds of memory.
//
// Progress goes to the registry, under the process's own name, for as long as the
// process has anything to do with a generation. So a generation that is to be
// dropped is let go by all when no progress of it is left: then one of them removes
// what they shared, and at last the record.
package generations
