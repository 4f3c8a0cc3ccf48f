package crash

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	holdpb "holdmetrics/proto"
)

// settle waits until everything that the log has is in the store and in the snapshots.
// The log takes nothing meanwhile, so that a partition that was seen so stays so. It
// fails if nothing gets on for as long as patience. An owner or an epoch that changes is
// no progress: a position, a checkpoint or a publish that was not reached before is.
func settle(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	s := &settling{began: time.Now(), partitions: map[uint32]*course{}}
	for progress := s.began; !s.done(); {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		status, err := holdpb.NewHoldMetricsQueryClient(conn).Status(ctx, &holdpb.Empty{}, grpc.WaitForReady(true))
		cancel()
		if s.look(time.Now(), status, err) {
			progress = time.Now()
		}
		if time.Since(progress) > patience {
			t.Fatalf("not everything is applied, and nothing has got on for %s:\n%s", patience, s)
		}
		time.Sleep(lookAgain)
	}
	if took := time.Since(s.began); took > patience/4 {
		t.Logf("what the partitions did while they settled:\n%s", s)
	}
}

// settling is what a gateway reports of the partitions until they settle.
type settling struct {
	began      time.Time
	partitions map[uint32]*course
	errs       []string // of looks, each kind once in a row
}

// course is what became of one partition.
type course struct {
	now     string
	changes []string  // with the instants
	reached [3]uint64 // furthest position, checkpoint and publish
	settled bool
}

func (s *settling) done() bool {
	for _, c := range s.partitions {
		if !c.settled {
			return false
		}
	}
	return len(s.partitions) > 0
}

// look takes in what a gateway reports, and reports whether anything got on.
func (s *settling) look(now time.Time, status *holdpb.StatusAnswer, err error) (progress bool) {
	at := ms(now.Sub(s.began))
	if err != nil {
		if text := err.Error(); len(s.errs) == 0 || !strings.HasSuffix(s.errs[len(s.errs)-1], text) {
			s.errs = append(s.errs, fmt.Sprintf("%s %s", at, text))
		}
		return false
	}
	for _, p := range status.GetPartitions() {
		c := s.partitions[p.Partition]
		if c == nil {
			c = &course{}
			s.partitions[p.Partition] = c
			progress = true
		}
		text := fmt.Sprintf("%q %s epoch %d, position %d, stored %d, published %d of %d", p.Owner, p.State, p.Epoch, p.Position, p.Stored, p.Published, p.End)
		if !p.Moving {
			text += ", does not move"
		}
		if p.Trouble != "" {
			text += ": " + p.Trouble
		}
		if text != c.now {
			c.now = text
			c.changes = append(c.changes, fmt.Sprintf("%s %s", at, text))
		}
		for i, at := range [...]uint64{p.Position, p.Stored, p.Published} {
			if at > c.reached[i] {
				c.reached[i], progress = at, true
			}
		}
		if !c.settled && p.Moving && p.State == "running" && p.Stored >= p.End && p.Published >= p.End {
			c.settled, progress = true, true
		}
	}
	return progress
}

// String returns what became of the partitions that have not settled, or of all if all
// have, and what the looks failed with.
func (s *settling) String() string {
	const last = 40 // changes of a partition
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(s.partitions)) {
		c := s.partitions[n]
		if c.settled && !s.done() {
			continue
		}
		fmt.Fprintf(&b, "partition %d, %d changes:\n", n, len(c.changes))
		for _, change := range c.changes[max(0, len(c.changes)-last):] {
			fmt.Fprintf(&b, "  %s\n", change)
		}
	}
	for _, err := range s.errs[max(0, len(s.errs)-last):] {
		fmt.Fprintf(&b, "error: %s\n", err)
	}
	return b.String()
}
