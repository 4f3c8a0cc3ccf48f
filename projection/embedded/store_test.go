package embedded

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(damagedHelper) != "" {
		os.Exit(testwait.Watch(m).Run())
	}
	goleak.VerifyTestMain(testwait.Watch(m))
}

func TestSuite(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"batches": {}, "tables": {bulkBytes: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) storetest.Harness {
				dir := t.TempDir()
				return storetest.Harness{Open: func(t *testing.T) projection.Store {
					s, err := Open(dir, o)
					if err != nil {
						t.Fatal(err)
					}
					return s
				}}
			})
		})
	}
}
