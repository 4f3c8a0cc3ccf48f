package proof

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
)

// Errors of a witness. Each means that the log, or the statements about it, were changed.
var (
	// ErrRolledBack: a checkpoint covers less than one that was seen before.
	ErrRolledBack = errors.New("the checkpoint went back")
	// ErrForked: a checkpoint does not have what one that was seen before has.
	ErrForked = errors.New("the log was rewritten")
	// ErrOtherLog: a checkpoint is of another log than the one that was seen before.
	ErrOtherLog = errors.New("the checkpoint is of another log")
)

// Witness remembers the latest checkpoint that it has seen, and takes only one that goes
// on from there.
type Witness struct {
	Key  note.Verifier
	Seen string // the latest checkpoint, signed; empty: none yet
}

// Take checks a signed checkpoint, and remembers it. compare returns the proof that the
// tree of the second size begins with all of the tree of the first. The errors match
// [ErrCheckpoint], [ErrRolledBack], [ErrForked] or [ErrOtherLog], and what was seen stays.
func (w *Witness) Take(signed string, compare func(from, to uint64) ([]Hash, error)) (Checkpoint, error) {
	now, err := OpenCheckpoint(signed, w.Key)
	if err != nil {
		return Checkpoint{}, err
	}
	if w.Seen == "" {
		w.Seen = signed
		return now, nil
	}
	before, err := OpenCheckpoint(w.Seen, w.Key)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the checkpoint that was seen before: %w", err)
	}
	switch {
	case now.LogID != before.LogID:
		return Checkpoint{}, fmt.Errorf("%w: %s, and %s was seen before: the log was made again, or it is another server", ErrOtherLog, now.LogID, before.LogID)
	case now.Size < before.Size:
		return Checkpoint{}, fmt.Errorf("%w: it covers %d positions, and %d were seen before: the log was rolled back, or a replica is behind", ErrRolledBack, now.Size, before.Size)
	case now.Size == before.Size && now.Root != before.Root:
		return Checkpoint{}, fmt.Errorf("%w: two checkpoints of %d positions have different roots", ErrForked, now.Size)
	case now.Size == before.Size:
		return now, nil
	}
	path, err := compare(before.Size, now.Size)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := CheckConsistency(before.Size, before.Root, now.Size, now.Root, path); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: the checkpoint of %d positions does not begin with the one of %d that was seen before: %w", ErrForked, now.Size, before.Size, err)
	}
	w.Seen = signed
	return now, nil
}
