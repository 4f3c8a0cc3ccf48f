package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"time"
)

// The end of a backup is its seal: an entry with the SHA-256 of every byte before it,
// headers and padding too, and the two empty blocks that end a tar file. It is as long
// in every backup, and nothing in it can be otherwise than it is, so what has come to
// the end of a file knows what the end must be.
const (
	sealName  = "sha256"
	sealBytes = 512 + 512 + 1024
)

// seal is the end of a backup that was made at a time, behind what has this sum.
func seal(sum []byte, made time.Time) ([]byte, error) {
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	text := hex.EncodeToString(sum) + "\n"
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: sealName, Size: int64(len(text)), Mode: 0o600, ModTime: made}); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(t, text); err != nil {
		return nil, err
	}
	err := t.Close()
	return out.Bytes(), err
}

// sealed reads a backup and sums up what is read, but for the last [sealBytes].
type sealed struct {
	from io.Reader
	sum  hash.Hash
	held []byte // read, and not in the sum yet
}

func newSealed(from io.Reader) *sealed { return &sealed{from: from, sum: sha256.New()} }

func (s *sealed) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	s.held = append(s.held, b[:n]...)
	if len(s.held) >= sealBytes+64<<10 {
		s.take()
	}
	return n, err
}

// take sums up what cannot be the seal.
func (s *sealed) take() {
	if over := len(s.held) - sealBytes; over > 0 {
		s.sum.Write(s.held[:over])
		s.held = s.held[:copy(s.held, s.held[over:])]
	}
}

// check reads to the end, and reports whether the file is as it was written at a time.
func (s *sealed) check(made time.Time) error {
	if _, err := io.Copy(io.Discard, s); err != nil {
		return damaged(err)
	}
	s.take()
	want, err := seal(s.sum.Sum(nil), made)
	if err == nil && !bytes.Equal(s.held, want) {
		err = fmt.Errorf("%w: its bytes do not have the SHA-256 that it ends with", ErrDamaged)
	}
	return err
}
