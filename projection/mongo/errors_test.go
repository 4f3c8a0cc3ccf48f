package mongo

import (
	"errors"
	"testing"

	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"holdmetrics/projection"
)

// The driver tells who waits for a connection of a pool that was cleared by an
// error of the server's kind, though no server has said anything.
func TestClearedPoolIsTemporary(t *testing.T) {
	t.Parallel()
	cleared := driver.CommandError{
		Message: "connection pool was cleared because another operation failed",
		Labels:  []string{"TransientTransactionError"},
	}
	if err := explain("open database", cleared); !errors.Is(err, projection.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if err := explain("open database", driver.CommandError{Code: 13, Message: "not authorized"}); !errors.Is(err, projection.ErrRefused) {
		t.Errorf("%v, want ErrRefused", err)
	}
}
