package mongo

import (
	"testing"

	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		name := database(t)
		return storetest.Harness{Open: func(t *testing.T) projection.Store { return open(t, name) }}
	})
}
