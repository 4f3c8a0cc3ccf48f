package logs

import (
	"cmp"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Lag logs when partitions fall behind the log, while they are, and when they have caught
// up. One goroutine uses it.
type Lag struct {
	Bound time.Duration // a partition that is further behind lags
	Again time.Duration // pause between two lines while partitions lag

	began, said time.Time // zero: none lags
	worst       time.Duration
}

// Behind is how far a partition is behind.
type Behind struct {
	Partition int
	Messages  uint64        // that it has not applied
	Time      time.Duration // by which what it has applied is old; 0: nothing is missing
}

// Look takes how far the partitions are behind now.
func (l *Lag) Look(log *zap.Logger, now time.Time, all []Behind) {
	var lagging []int
	var messages uint64
	var longest time.Duration
	for _, b := range all {
		if b.Messages > 0 && b.Time > l.Bound {
			lagging = append(lagging, b.Partition)
			messages += b.Messages
			longest = max(longest, b.Time)
		}
	}
	switch {
	case len(lagging) == 0 && l.began.IsZero():
		return
	case len(lagging) == 0:
		log.Info("partitions have caught up with the log", zap.Duration("lagged_for", now.Sub(l.began).Round(time.Second)), zap.Duration("lag_at_most", l.worst.Round(time.Second)))
		*l = Lag{Bound: l.Bound, Again: l.Again}
		return
	case l.began.IsZero():
		l.began = now
	}
	l.worst = max(l.worst, longest)
	if !l.said.IsZero() && now.Sub(l.said) < l.Again {
		return
	}
	l.said = now
	slices.SortFunc(lagging, cmp.Compare)
	log.Warn("partitions lag behind the log", zap.Ints("partitions", lagging), zap.Duration("lag", longest.Round(time.Second)),
		zap.Uint64("messages", messages), zap.Duration("lagged_for", now.Sub(l.began).Round(time.Second)))
}
