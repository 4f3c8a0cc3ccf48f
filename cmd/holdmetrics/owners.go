package main

import (
	"context"

	"holdmetrics/gateway"
	"holdmetrics/processor"
)

// owners tells of the partitions that the worker of this process owns.
type owners struct {
	id     string // of this process
	worker *processor.Worker
}

// Partitions implements gateway.Owners.
func (o owners) Partitions(context.Context) ([]gateway.PartitionStatus, error) {
	var out []gateway.PartitionStatus
	for _, s := range o.worker.Status() {
		p := gateway.PartitionStatus{
			Partition: s.Partition, Owner: o.id, State: s.State.String(), Epoch: s.Epoch,
			Position: s.Position, Stored: s.Checkpoint, Published: s.Published,
			Pending: s.Pending, LogTime: s.LogTime, Events: s.Events, Rejected: s.Rejected,
		}
		switch {
		case s.Err != nil:
			p.Trouble = s.Err.Error()
		case s.Trouble != nil:
			p.Trouble = s.Trouble.Error()
		}
		out = append(out, p)
	}
	return out, nil
}
