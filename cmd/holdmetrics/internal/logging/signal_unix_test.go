//go:build unix

package logging

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"

	"go.uber.org/zap/zapcore"

	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/internal/testwait"
)

// SIGUSR1 goes to debug, and from there to info. The signal reaches the whole process, so
// the test is not parallel.
func TestSignal(t *testing.T) {
	_, level := New(&bytes.Buffer{}, printing.JSON, zapcore.WarnLevel)
	stop := level.FollowSignal()
	defer stop()
	for _, want := range []zapcore.Level{zapcore.DebugLevel, zapcore.InfoLevel, zapcore.DebugLevel} {
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		testwait.Poll(t, "the level", func() error {
			if got := level.Get(); got != want {
				return fmt.Errorf("it is %v, not %v", got, want)
			}
			return nil
		})
	}
}
