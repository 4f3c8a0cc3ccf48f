package generation

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"holdmetrics/projection"
)

// pinged is a store that can only be asked whether it is there.
type pinged struct {
	projection.Store
	err error
}

func (p pinged) Ping(context.Context) error { return p.err }

// An operator who asks why a worker is not ready learns that it is the store.
func TestNotReadyNamesTheStore(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	for _, err := range []error{context.DeadlineExceeded, refused} {
		g := &Instance{Store: pinged{err: err}}
		if got := g.Ready(t.Context(), time.Second); !errors.Is(got, err) || !strings.HasPrefix(got.Error(), "the store") {
			t.Errorf("%v becomes %v", err, got)
		}
	}
}
