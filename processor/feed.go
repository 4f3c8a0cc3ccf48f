package processor

import (
	"context"

	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// eventLog is what the worker needs of the log. *ingest.Log behind jetStreamLog
// is the one that counts; tests bring one in memory.
type eventLog interface {
	ID() string
	Partitions() int
	End(ctx context.Context, partition int) (uint64, error)
	LimitsAt(position uint64) hold.Limits
	// KnowsHorizon says whether the log's settings have a horizon.
	KnowsHorizon(ctx context.Context, horizon int64) (bool, error)
	// Look says which log there is now, and its last position.
	Look(ctx context.Context) (id string, last uint64, err error)
	PublishDeadLetter(ctx context.Context, d ingest.DeadLetter) error
	// read puts the messages of a partition, or of everyPartition, behind position
	// into the inbox, in order, until stop is called, which waits for the reader's
	// end. The inbox must be closed first.
	read(ctx context.Context, partition int, after uint64, in *inbox, log *zap.Logger) (stop func(), err error)
}
