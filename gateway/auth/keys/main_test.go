package keys

import (
	"testing"

	"go.uber.org/goleak"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }
