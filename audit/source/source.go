// Package source reads a log that is to be audited: from NATS, or from an export, with
// nothing of holdmetrics running.
package source

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/archive"
)

// Log is a log to read.
type Log interface {
	ID() string
	Partitions() int
	// LastPosition returns the last position, or 0 of an empty log.
	LastPosition(ctx context.Context) (uint64, error)
	// Read gives the messages of a range by ascending position.
	Read(ctx context.Context, r ingest.Range) iter.Seq2[*ingest.Message, error]
	// LimitsAt returns the limits by which the events of a position are accepted.
	LimitsAt(position uint64) hold.Limits
	// KnowsHorizon reports whether the settings of the log name a horizon.
	KnowsHorizon(ctx context.Context, horizon int64) (bool, error)
	// IsLost reports whether a position was accepted as lost.
	IsLost(position uint64) bool
}

var _ Log = (*Live)(nil)

// Export is the export of a log.
type Export struct {
	name   string
	header archive.Header
}

// OpenExport opens the export of a whole log.
func OpenExport(name string) (*Export, error) {
	r, err := archive.Open(name)
	if err != nil {
		return nil, err
	}
	e := &Export{name, r.Header()}
	if err := r.Close(); err != nil {
		return nil, err
	}
	if !e.header.Whole() {
		return nil, fmt.Errorf("%s begins with position %d: export the log from position 1 on", name, e.header.From)
	}
	return e, nil
}

// ID returns the id of the log.
func (e *Export) ID() string { return e.header.Origin.LogID }

// Partitions returns the number of partitions.
func (e *Export) Partitions() int { return e.header.Origin.Partitions }

// LastPosition returns the last position of the export.
func (e *Export) LastPosition(context.Context) (uint64, error) { return e.header.Origin.Through, nil }

// Read gives messages. A file whose lines were edited is read all the same: what was
// changed is for the audit to find.
func (e *Export) Read(ctx context.Context, r ingest.Range) iter.Seq2[*ingest.Message, error] {
	return func(yield func(*ingest.Message, error) bool) {
		in, err := archive.Open(e.name)
		if err != nil {
			yield(nil, err)
			return
		}
		defer in.Close()
		in.TakeEdited()
		for m, err := range in.Messages() {
			if err == nil {
				err = ctx.Err()
			}
			switch {
			case err != nil:
				yield(nil, err)
				return
			case r.To != 0 && m.Position > r.To:
				return
			case m.Position < r.From || r.Partitions != nil && !slices.Contains(r.Partitions, m.Partition):
				continue
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// LimitsAt returns the limits that held at a position.
func (e *Export) LimitsAt(position uint64) hold.Limits {
	all := e.header.Origin.Limits
	i := sort.Search(len(all), func(i int) bool { return all[i].From > position })
	return all[max(i-1, 0)].Limits
}

// KnowsHorizon reports whether the export names a horizon.
func (e *Export) KnowsHorizon(_ context.Context, horizon int64) (bool, error) {
	return slices.Contains(e.header.Origin.Horizons, horizon), nil
}

// IsLost is always false: an export has no gaps.
func (e *Export) IsLost(uint64) bool { return false }
