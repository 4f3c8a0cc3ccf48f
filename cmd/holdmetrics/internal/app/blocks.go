package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/s2"
	"github.com/minio/highwayhash"

	"holdmetrics/ingest"
)

// The embedded NATS server keeps the messages of the log in block files. It compresses a
// block when the next one is begun, and reads a compressed block whole or not at all. If
// it has to read a block that it cannot read when it starts, the stream is missing, with
// all its other blocks.

// logDirectory is where the broker of a data directory keeps the log.
func logDirectory(dataDir string) string {
	return filepath.Join(dataDir, NATSName, "jetstream", "$G", "streams", ingest.StreamName)
}

// hasLog reports whether a data directory has blocks of a log, whether or not they can be
// read.
func hasLog(dataDir string) bool {
	blocks, err := filepath.Glob(filepath.Join(logDirectory(dataDir), "msgs", "*.blk"))
	return err == nil && len(blocks) > 0
}

// CheckLogSettings returns an error if a data directory has blocks of a log whose settings
// its broker cannot read, so that it does not know the log. They are in meta.inf, whose
// checksum is in meta.sum. No repair can make them again: they have the log's id.
func CheckLogSettings(dataDir string) error {
	if !hasLog(dataDir) {
		return nil
	}
	path := filepath.Join(logDirectory(dataDir), "meta.inf")
	content, err := os.ReadFile(path)
	if err == nil {
		var want []byte
		if want, err = os.ReadFile(filepath.Join(logDirectory(dataDir), "meta.sum")); err == nil {
			key := sha256.Sum256([]byte(ingest.StreamName))
			sum, failed := highwayhash.New64(key[:])
			if failed != nil {
				return failed
			}
			_, _ = sum.Write(content)
			if hex.EncodeToString(sum.Sum(nil)) == string(want) {
				return nil
			}
			err = errors.New("its checksum in meta.sum is another one")
		}
	}
	return fmt.Errorf("the log cannot be opened: its settings in %s cannot be read: %w; its events are in msgs beside it; put meta.inf and meta.sum of a copy of this data directory there, or restore a backup to another directory ('holdmetrics log repair' cannot make them again)", path, err)
}

// BadBlock is a compressed block file of the log that cannot be read whole.
type BadBlock struct {
	Name     string // of the file, without its directory
	Size     int64
	readable []byte // what can be read of it, uncompressed
	dir      string
}

// BadBlocks reads all compressed blocks of the log of a data directory, whose broker must
// not run.
func BadBlocks(dataDir string) (bad []BadBlock, err error) {
	dir := filepath.Join(logDirectory(dataDir), "msgs")
	names, err := filepath.Glob(filepath.Join(dir, "*.blk"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if readable, whole := decompress(content); !whole {
			bad = append(bad, BadBlock{Name: filepath.Base(name), Size: int64(len(content)), readable: readable, dir: dir})
		}
	}
	return bad, nil
}

// blockMark begins a compressed block; the size that it has uncompressed follows, and the
// compressed messages. The last blockSum bytes are not compressed.
var blockMark = []byte{'c', 'm', 'p', 1}

const blockSum = 8

// decompress returns what can be read of a block, and whether that is all of it. A block
// that is not compressed is read whole: the broker cuts it off itself.
func decompress(block []byte) (readable []byte, whole bool) {
	rest, compressed := bytes.CutPrefix(block, blockMark)
	if !compressed {
		return nil, true
	}
	size, n := binary.Uvarint(rest)
	if n <= 0 || len(rest) < n+blockSum {
		return nil, false
	}
	var out bytes.Buffer
	_, err := io.Copy(&out, s2.NewReader(bytes.NewReader(rest[n:len(rest)-blockSum])))
	return out.Bytes(), err == nil && uint64(out.Len()+blockSum) == size
}

// Cut keeps the file in a directory, and puts what can be read of it in its place. The
// broker then finds out which messages that are.
func (b *BadBlock) Cut(keep string) error {
	if err := os.MkdirAll(keep, 0o700); err != nil {
		return err
	}
	at := filepath.Join(b.dir, b.Name)
	if err := os.Rename(at, filepath.Join(keep, b.Name)); err != nil {
		return err
	}
	if len(b.readable) > 0 {
		if err := CreateFile(at, bytes.NewReader(b.readable)); err != nil {
			return fmt.Errorf("write what can be read of block %s: %w", b.Name, err)
		}
		if err := SyncPath(at); err != nil {
			return err
		}
	}
	// The index has the block as it was.
	if err := os.Remove(filepath.Join(b.dir, "index.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return SyncPath(b.dir)
}
