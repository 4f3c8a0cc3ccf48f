// Package faultynats stands between a NATS client and its server and tells the
// client lies that a broker may tell: counts of pending messages that are wrong,
// messages that come twice, late or not at all, consumers that fall silent,
// acknowledgements that are lost, and connections that stand still without
// closing. It is for tests.
//
// It speaks the client protocol, so everything that a program does over its
// connection passes it: consumers, key-value watches, requests and batches. A test
// connects by [Broker.URL], or uses the broker in place of the server in
// nats.InProcessServer.
//
// Faults are seeded. What becomes of a message depends on the seed, the message
// and how often it was delivered before, not on timing.
package faultynats
