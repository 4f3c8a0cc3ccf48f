// Package connect connects commands to a server by gRPC, and to NATS.
package connect

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

const (
	// serverPing is the silence after which a call asks whether the server is there, and
	// serverSilence how long the answer may take. A server that stands still, or whose
	// machine is gone, ends every call by then.
	serverPing    = 20 * time.Second // servers take no ping more often than every 10 s
	serverSilence = 10 * time.Second
)

// keepAlive notices a server that has fallen silent.
var keepAlive = grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: serverPing, Timeout: serverSilence})

// MessageOf is a draft as it goes over the wire.
func MessageOf(d *hold.Draft) *holdpb.HoldMsg {
	m := &holdpb.HoldMsg{
		TokenId:     d.Token,
		HolderId:    d.Holder,
		Start:       TimestampOf(d.Start),
		End:         TimestampOf(d.End),
		Weight:      d.Weight,
		HoldId:      d.HoldID,
		Revision:    d.Revision,
		WeightExact: d.WeightExact,
		Retract:     d.Retract,
	}
	if d.WeightGiven && d.Weight == 0 && d.WeightExact == "" {
		// A double of 0 is "not given" on the wire; the exact form can say 0.
		m.WeightExact = "0"
	}
	return m
}

// TimestampOf returns a time as it is sent, or nil if it is not set.
func TimestampOf(t hold.Stamp) *timestamppb.Timestamp {
	if !t.Set {
		return nil
	}
	return &timestamppb.Timestamp{Seconds: t.Seconds, Nanos: t.Nanos}
}
