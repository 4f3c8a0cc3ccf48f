// Package connect connects commands to a server by gRPC, and to NATS.
package connect

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// defaultServer is where serve listens by default.
const defaultServer = "127.0.0.1:60051"

// ServerFlag is the flag that says where the server is.
func ServerFlag(c *cobra.Command) *string {
	return c.Flags().String("server", defaultServer, "the server's gRPC `address`")
}

const (
	// serverPing is the silence after which a call asks whether the server is there, and
	// serverSilence how long the answer may take. A server that stands still, or whose
	// machine is gone, ends every call by then.
	serverPing    = 20 * time.Second // servers take no ping more often than every 10 s
	serverSilence = 10 * time.Second
)

// Dial opens a connection; that nobody answers shows with the first call, and that the
// server has fallen silent ends a call after half a minute.
func Dial(server string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(server,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: serverPing, Timeout: serverSilence}))
	if err != nil {
		return nil, usage.Errorf("--server %q: %w", server, err)
	}
	return conn, nil
}

// ErrDisconnected says that the server is not there, or no more.
var ErrDisconnected = errors.New("no connection to the server")

// CallError says in words what a call came to.
func CallError(server string, err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch s.Code() {
	case codes.OK:
		return nil
	case codes.Unavailable:
		return fmt.Errorf("%w at %s; start one with 'holdmetrics serve', or name it with --server (%s)", ErrDisconnected, server, s.Message())
	case codes.Canceled:
		return errors.New("interrupted")
	case codes.Unimplemented:
		return fmt.Errorf("the server at %s does not know this call; is it a holdmetrics of this version? (%s)", server, s.Message())
	}
	return errors.New(s.Message())
}

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
