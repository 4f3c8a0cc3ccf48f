package processor

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdmetrics/ingest"
)

// lettersAtOnce is how many dead letters of one batch are on their way together.
const lettersAtOnce = 32

// letters are the dead letters of the messages between two checkpoints. A flush
// waits for them, so no checkpoint passes an event that is neither in the store
// nor durable as a dead letter. A letter has a subject of its own, so sending it
// again after a crash changes nothing.
type letters struct {
	wg  sync.WaitGroup
	mu  sync.Mutex
	err error // the first; only the end of the context makes one
}

// send publishes the letters in the background. Each is tried until it is
// stored or ctx ends. Their bytes must stay as they are.
func (l *letters) send(ctx context.Context, batch []ingest.DeadLetter, publish func(context.Context, ingest.DeadLetter) error, retry func(ctx context.Context, what string, f func(context.Context) error) error) {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		var group errgroup.Group
		group.SetLimit(lettersAtOnce)
		for i := range batch {
			group.Go(func() error {
				return retry(ctx, "publish a dead letter", func(ctx context.Context) error { return publish(ctx, batch[i]) })
			})
		}
		if err := group.Wait(); err != nil {
			l.mu.Lock()
			if l.err == nil {
				l.err = err
			}
			l.mu.Unlock()
		}
	}()
}

// wait returns when all letters are stored, or why one is not.
func (l *letters) wait() error {
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
