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
	f := FailureOf(fmt.Errorf("read facts of partition 0: %w", projection.ErrUnavailable))
	if grpcCodes[f.Kind] != codes.Unavailable || httpStatuses[f.Kind] != http.StatusServiceUnavailable || !f.Retry {
		t.Errorf("told as %v, HTTP %d, retry %v", grpcCodes[f.Kind], httpStatuses[f.Kind], f.Retry)
	}
}
