// Package generation keeps, in a NATS key-value bucket, which generations of the
// projections there are, which one is read, and who has noticed.
//
// A generation is a set of projections made from the log by one set of rules: a
// store namespace, a snapshot bucket and a lease bucket of its own, all named
// after it. Bucket HOLD_META has
//
//	gen.<name>     a [Record]: its rules, how far it goes, what it is to do
//	active         an [Active]: the generation that is read, and the one before it
//	prepare        a [Prepare]: the generation that doors are to load
//	door.<id>      a [Door]: what a gateway has loaded; the key runs out with it
//	build.<name>.<worker>   a [Progress]: how far a worker is with its part; runs out with it
//
// A switch is two writes. `prepare` names the generation to come; every door loads
// its snapshots beside those it serves, and says so under its own key. When all
// have, `active` names it, and each door moves all its readers at once.
package generation
