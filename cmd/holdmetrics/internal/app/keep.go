package app

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
)

// A NATS server that starts and cannot read a block of a stream deletes the stream, with
// all blocks that it could read. So the files of the streams that cannot be made again
// are linked into a directory beside before it starts, and back if it deleted them. The
// links cost no room.

// keptSuffix is added to the directory of a server to name the one with the links.
const keptSuffix = "-kept"

// keptStreams are the streams whose files are kept.
var keptStreams = []string{ingest.StreamName, ingest.DeadLetterStream, "KV_" + generation.Bucket}

func streamDirectory(storeDir, stream string) string {
	return filepath.Join(storeDir, "jetstream", "$G", "streams", stream)
}

// keepStreams links the files of the streams of a server that does not run.
func keepStreams(storeDir string) error {
	for _, stream := range keptStreams {
		from, to := streamDirectory(storeDir, stream), filepath.Join(storeDir+keptSuffix, stream)
		err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(from, path)
			switch {
			case err != nil:
				return err
			case name == "obs": // consumers
				return fs.SkipDir
			case e.IsDir():
				return os.MkdirAll(filepath.Join(to, name), 0o700)
			case !e.Type().IsRegular():
				return nil
			}
			return os.Link(path, filepath.Join(to, name))
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// giveBack puts the files of streams back that a server has deleted, and removes the links.
func giveBack(storeDir string) error {
	for _, stream := range keptStreams {
		kept, at := filepath.Join(storeDir+keptSuffix, stream), streamDirectory(storeDir, stream)
		if _, err := os.Stat(kept); err != nil {
			continue // nothing was there
		}
		if blocks, err := filepath.Glob(filepath.Join(at, "msgs", "*.blk")); err != nil || len(blocks) > 0 {
			continue
		}
		if blocks, err := filepath.Glob(filepath.Join(kept, "msgs", "*.blk")); err != nil || len(blocks) == 0 {
			continue
		}
		if err := os.RemoveAll(at); err != nil { // what is left of it
			return err
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			return err
		}
		if err := os.Rename(kept, at); err != nil {
			return err
		}
	}
	return os.RemoveAll(storeDir + keptSuffix)
}
