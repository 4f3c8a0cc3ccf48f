//go:build unix

package logging

import (
	"os"
	"os/signal"
	"syscall"
)

// FollowSignal changes the level with each SIGUSR1, to debug and from debug to info,
// until stop is called. stop returns when no change is under way.
func (l *Level) FollowSignal() (stop func()) {
	signals, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		defer close(ended)
		for range signals {
			l.cycle("SIGUSR1")
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-ended
	}
}
