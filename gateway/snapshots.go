package gateway

import (
	"context"

	"google.golang.org/grpc"

	holdpb "holdmetrics/proto"
)

// currentSnapshots calls fn for the snapshot of every holder, by holder key,
// once the first load of the snapshots is complete. An error of fn ends it.
func (g *Gateway) currentSnapshots(ctx context.Context, fn func(value []byte) error) error {
	if err := g.cfg.Snapshots.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return unavailable("the snapshots", err)
	}
	var err error
	g.cfg.Snapshots.All(func(_ string, value []byte) bool {
		if err = ctx.Err(); err == nil {
			err = fn(value)
		}
		return err == nil
	})
	return err
}

// sendSnapshots answers Stats and GetSnapshot. The bytes of a snapshot are a
// HoldStat, so they go out as they are. With no holder yet one empty HoldStat
// goes out, as clients of the original service expect.
func (g *Gateway) sendSnapshots(stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	none := true
	err := g.currentSnapshots(stream.Context(), func(value []byte) error {
		none = false
		return stream.SendMsg(&rawMessage{bytes: value})
	})
	if err == nil && none {
		err = stream.Send(&holdpb.HoldStat{})
	}
	return err
}
