package failure

import (
	"fmt"
	"testing"

	"holdmetrics/projection"
)

// A database that is away for a moment is nobody's bug: the caller asks again.
func TestStoreThatIsAway(t *testing.T) {
	t.Parallel()
	f := Of(fmt.Errorf("read facts of partition 0: %w", projection.ErrUnavailable))
	if f.Kind != Unavailable || !f.Retry {
		t.Errorf("reported as %+v", f)
	}
}
