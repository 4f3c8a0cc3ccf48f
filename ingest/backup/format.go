package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Version is the version of the format that this program writes, and the
// greatest that it reads. Backups of version 1 are read too; they do not end with the
// SHA-256 of all of them, so not every change of their manifest is found. Those of version
// 2 have no [Change], which a program of then would leave out without a word.
const Version = 3

const (
	headName     = "holdmetrics-backup.json"
	manifestName = "manifest.json"
	filesPrefix  = "files/"
	streamPrefix = "streams/"

	// partBytes is how much of a stream's snapshot goes into one entry. A snapshot
	// does not say how long it will be, and a tar entry has to.
	partBytes = 4 << 20
	// mostManifest bounds what is read into memory of a file that may be anything.
	mostManifest = 256 << 20
)

// Errors that callers decide on.
var (
	// ErrNotABackup: the file is something else.
	ErrNotABackup = errors.New("backup: not a backup of holdmetrics")
	// ErrVersion: the backup is of a newer format than this program reads.
	ErrVersion = errors.New("backup: of a newer version; restore it with the program that made it, or a newer one")
	// ErrDamaged: the backup is not as it was written. Nothing of it was used.
	ErrDamaged = errors.New("backup: damaged; use another one")
	// ErrUnreadable: every byte of the backup is as it was written, but messages of its
	// streams are missing or cannot be read.
	ErrUnreadable = errors.New("backup: it was made of a damaged stream, and cannot be restored whole; use another one")
	// ErrExists: a stream of the backup is there already. Nothing was changed.
	ErrExists = errors.New("backup: a stream of that name exists")
	// ErrNoLog: there is no event log to back up.
	ErrNoLog = errors.New("backup: there is no event log")
)

// head is the first entry.
type head struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

const formatName = "holdmetrics backup"

// Manifest says what a backup has. It is its last entry but one.
type Manifest struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"` // when the backup began, by the clock of who made it
	Program string    `json:"program"` // version of the program that made it
	LogID   string    `json:"log_id"`
	Streams []Stream  `json:"streams"` // in the order in which they were copied
	Files   []File    `json:"files"`   // what the server gave; none of a log that was backed up alone
	Parts   []File    `json:"parts"`   // of streams, by the names that they have in the tar file
}

// Stream is a stream at the moment of its snapshot.
type Stream struct {
	Name   string          `json:"name"`
	Config json.RawMessage `json:"config"` // as the server gave it, so that no setting is lost
	State  json.RawMessage `json:"state"`

	Messages uint64 `json:"messages"`
	Last     uint64 `json:"last"` // sequence of the last message
	// Changes are what came while the stream was copied, and belong behind the copy.
	Changes []Change `json:"changes,omitempty"`
}

// File is one entry.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hexadecimal
}

// Bytes is the size of all entries together.
func (m *Manifest) Bytes() (n int64) {
	for _, list := range [][]File{m.Files, m.Parts} {
		for i := range list {
			n += list[i].Size
		}
	}
	return n
}

// checkName reports whether a name stays within the directory that it is put into.
func checkName(name string) error {
	if name == "" || name != path.Clean(name) || path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("%w: it has an entry named %q", ErrDamaged, name)
	}
	return nil
}

func partName(stream string, part int) string {
	return fmt.Sprintf("%s%s/%06d", streamPrefix, stream, part)
}

// streamOfPart is the stream that an entry is a part of.
func streamOfPart(name string) (stream string, ok bool) {
	rest, ok := strings.CutPrefix(name, streamPrefix)
	if !ok {
		return "", false
	}
	stream, _, ok = strings.Cut(rest, "/")
	return stream, ok
}
