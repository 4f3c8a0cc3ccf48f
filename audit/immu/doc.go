// Package immu writes to an immudb server and reads from it, and believes it nothing: each
// answer is checked against the state that a file remembers, as immudb's own clients do.
//
// It speaks immudb's protocol itself, because its clients verify one key at a time. One
// call of [Client.Set] writes and verifies a thousand keys, and [Client.Each] verifies a
// database from its first transaction to its last, with all values.
//
// # The version
//
// The code of immudb is that of 1.5.0, which is under the Apache License 2.0. Versions from
// 1.9.5 on are under the Business Source License 1.1, which this project cannot depend on.
// Servers of later versions speak the same protocol.
package immu
