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
		// A run asks the database some two hundred questions. The other stores have all runs.
		return storetest.Harness{Open: func(t *testing.T) projection.Store { return open(t, name) }, ModelRuns: 30}
	})
}
