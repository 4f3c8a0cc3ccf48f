package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/highwayhash"

	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
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

// dropIndexes removes the indexes of the snapshot buckets that are damaged, of a server
// that does not run. It returns the directories of these buckets.
//
// A server that has an index believes it, and does not read the blocks. If a message that
// the index has is damaged in its block, nats-server 2.15 never ends to look for it when
// the next message of its subject comes, and JetStream answers nobody any more. Without an
// index it reads all messages with their checksums, and drops what is damaged. What it
// dropped is published again from the store. An index that fits stays: it also knows which
// messages were deleted.
func dropIndexes(storeDir string) (damaged []string, err error) {
	streams, err := os.ReadDir(filepath.Dir(streamDirectory(storeDir, "any")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, stream := range streams {
		bucket, isBucket := strings.CutPrefix(stream.Name(), "KV_")
		if _, ours := projection.GenerationOfBucket(bucket); !isBucket || !ours {
			continue
		}
		at := streamDirectory(storeDir, stream.Name())
		whole, failed := isWhole(at, stream.Name())
		if failed == nil && whole {
			continue
		}
		if failed == nil {
			failed = os.Remove(filepath.Join(at, "msgs", "index.db"))
		}
		switch {
		case failed == nil:
			damaged = append(damaged, at)
		case !errors.Is(failed, fs.ErrNotExist):
			err = errors.Join(err, failed)
		}
	}
	return damaged, err
}

// isWhole reports whether all messages of a stream can be read from its blocks, which are
// not compressed.
func isWhole(dir, stream string) (bool, error) {
	msgs := filepath.Join(dir, "msgs")
	files, err := os.ReadDir(msgs)
	if err != nil {
		return false, err
	}
	for _, f := range files {
		number, isBlock := strings.CutSuffix(f.Name(), ".blk")
		if !isBlock {
			continue
		}
		content, err := os.ReadFile(filepath.Join(msgs, f.Name()))
		if err != nil {
			return false, err
		}
		if !hasWholeRecords(content, stream+"-"+number) {
			return false, nil
		}
	}
	return true, nil
}

const (
	recordHead   = 22      // length, sequence, time, length of the subject
	recordSum    = 8       // checksum at the end
	recordHeader = 1 << 31 // in the length: the message has a header, after its length of 4 bytes
)

// hasWholeRecords reports whether a block consists of records with right checksums. The
// name of a block is that of its stream and its number.
func hasWholeRecords(block []byte, name string) bool {
	key := sha256.Sum256([]byte(name))
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		return false
	}
	for len(block) > 0 {
		if len(block) < recordHead+recordSum {
			return false
		}
		length, subject := binary.LittleEndian.Uint32(block), int(binary.LittleEndian.Uint16(block[20:]))
		size := int(length &^ recordHeader)
		body := recordHead + subject
		if length&recordHeader != 0 {
			body += 4
		}
		if size > len(block) || body > size-recordSum {
			return false
		}
		end := size - recordSum
		sum.Reset()
		for _, part := range [][]byte{block[4:20], block[recordHead : recordHead+subject], block[body:end]} {
			_, _ = sum.Write(part)
		}
		if !bytes.Equal(sum.Sum(nil), block[end:size]) {
			return false
		}
		block = block[size:]
	}
	return true
}
