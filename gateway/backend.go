package gateway

import "holdmetrics/gateway/query"

// What a gateway is assembled from is defined by the packages that use it. These are
// their names for programs that assemble one.
type (
	// Backend is what a generation of the projections brings to a gateway.
	Backend = query.Backend
	// Owners reports how the partitions do, and who owns them.
	Owners = query.Owners
	// PartitionStatus is how a partition does at its owner.
	PartitionStatus = query.PartitionStatus
	// WorkerStatus is a process that owns partitions, or could.
	WorkerStatus = query.WorkerStatus
)

// ErrNoStore is the error of a Backend's WaitApplied and Reader that has no store.
var ErrNoStore = query.ErrNoStore
