package gateway

import (
	"fmt"
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"

	"holdmetrics/projection"
)

// A database that is away for a moment is nobody's bug: the caller asks again.
func TestStoreThatIsAway(t *testing.T) {
	t.Parallel()
	f := failureOf(fmt.Errorf("read facts of partition 0: %w", projection.ErrUnavailable))
	if f.code != codes.Unavailable || f.status != http.StatusServiceUnavailable || !f.retry {
		t.Errorf("told as %v, HTTP %d, retry %v", f.code, f.status, f.retry)
	}
}
