// Package consumer makes and drops the JetStream consumers that readers of a stream use
// for a while: they acknowledge nothing, and live in the memory of one server.
//
// Such a consumer is cheap to make and to lose. A reader that has a doubt about it (a
// gap, a missing heartbeat, a lost connection) makes another one after the last message
// that it has seen. The client's ordered consumer does about the same by itself, but not
// under the control of its user.
package consumer

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Config returns the configuration of a consumer that delivers every message. subject
// restricts it; an empty one does not. The server drops the consumer when nobody has
// read from it for idle. The caller sets where it starts.
func Config(description, subject string, idle time.Duration) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Description:       description,
		FilterSubject:     subject,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: idle,
		MemoryStorage:     true,
		Replicas:          1,
	}
}

// From returns a [Config] of a consumer that starts at a sequence of the stream.
func From(sequence uint64, description, subject string, idle time.Duration) jetstream.ConsumerConfig {
	c := Config(description, subject, idle)
	c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, sequence
	return c
}

// Drop deletes a consumer within a time limit, also after ctx has ended. It reports no
// error: a consumer that cannot be deleted is dropped by the server when it is idle.
// Without a connection it does nothing.
func Drop(ctx context.Context, js jetstream.JetStream, stream string, c jetstream.Consumer, within time.Duration) {
	if !js.Conn().IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	_ = js.DeleteConsumer(ctx, stream, c.CachedInfo().Name)
}
