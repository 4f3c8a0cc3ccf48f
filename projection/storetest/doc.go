// Package storetest is for everyone who writes a store or stands on one: the
// suite that every [projection.Store] has to pass ([Run]), a store in memory
// ([Memory]), and one that fails and stalls on command ([Faulty]).
package storetest
