package embedded

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Copy copies the store, as it is at a moment of the call, into a directory that
// does not exist yet, while it is written to. [Open] opens the copy. Where the
// directory is on the same disk, tables are linked and not copied.
//
// After an error the directory may be there in part.
func (s *Store) Copy(ctx context.Context, dir string) (err error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	defer recoverFatal(&err)
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("embedded: copy data directory %s to %s: %w", s.dir, dir, err)
	}
	return nil
}
