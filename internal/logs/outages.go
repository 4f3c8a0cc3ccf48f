package logs

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// Outages logs operations that fail and are tried again. However many do the same, as the
// partitions of a worker do, the first failure has a line, and the last recovery. It is
// safe for concurrent use.
type Outages struct {
	mu  sync.Mutex
	now map[string]*outage
}

// outage is of one operation.
type outage struct {
	failing  int // how many are trying again
	began    time.Time
	failures int
}

// NewOutages returns outages of which there is none.
func NewOutages() *Outages { return &Outages{now: map[string]*outage{}} }

// Failed notes that somebody begins to try an operation again. Recovered or GivenUp must
// follow.
func (o *Outages) Failed(log *zap.Logger, operation string, err error) {
	o.mu.Lock()
	of := o.now[operation]
	first := of == nil
	if first {
		of = &outage{began: time.Now()}
		o.now[operation] = of
	}
	of.failing++
	o.mu.Unlock()
	if first {
		log.Warn("operation failed; retrying", zap.String("operation", operation), zap.Error(err))
		return
	}
	log.Debug("operation failed here too; retrying", zap.String("operation", operation), zap.Error(err))
}

// Recovered notes that an operation succeeded after so many failures.
func (o *Outages) Recovered(log *zap.Logger, operation string, failures int) {
	if of := o.left(operation, failures); of != nil {
		log.Info("operation succeeded again", zap.String("operation", operation), zap.Int("failures", of.failures), zap.Duration("took", time.Since(of.began).Round(time.Millisecond)))
	}
}

// GivenUp notes that an operation is not tried again, because its work has ended.
func (o *Outages) GivenUp(operation string, failures int) { o.left(operation, failures) }

// left returns the outage that has ended, or nil if others go on trying.
func (o *Outages) left(operation string, failures int) *outage {
	o.mu.Lock()
	defer o.mu.Unlock()
	of := o.now[operation]
	of.failures += failures
	if of.failing--; of.failing > 0 {
		return nil
	}
	delete(o.now, operation)
	return of
}
