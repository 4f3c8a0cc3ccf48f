package app

import (
	"context"
	"time"

	"holdmetrics/gateway"
	"holdmetrics/processor"
)

// owners tells of the partitions that the worker of this process owns.
type owners struct {
	id      string // of this process
	version string
	worker  *processor.Worker
}

// Partitions implements gateway.Owners.
func (o owners) Partitions(context.Context) ([]gateway.PartitionStatus, error) {
	var out []gateway.PartitionStatus
	for _, s := range o.worker.Status() {
		out = append(out, statusOf(o.id, processor.ReportOf(&s, time.Now())))
	}
	return out, nil
}

// Workers implements gateway.Owners.
func (o owners) Workers(context.Context) ([]gateway.WorkerStatus, error) {
	return []gateway.WorkerStatus{{ID: o.id, Version: o.version}}, nil
}
