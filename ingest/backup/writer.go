package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/ingest"
)

// Writer writes a backup. It is for one goroutine. After an error the backup is
// worth nothing.
type Writer struct {
	to       io.Writer
	sum      hash.Hash // of all that was written
	tar      *tar.Writer
	manifest Manifest
	wrote    func(n int) // called with each count of bytes written
}

// NewWriter begins a backup, made by a version of the program at a time. wrote is
// called with the count of bytes as they are copied; it may be nil.
func NewWriter(to io.Writer, program string, now time.Time, wrote func(n int)) (*Writer, error) {
	if wrote == nil {
		wrote = func(int) {}
	}
	w := &Writer{to: to, sum: sha256.New(), wrote: wrote}
	w.tar = tar.NewWriter(io.MultiWriter(to, w.sum))
	w.manifest = Manifest{Version: Version, Created: now.UTC().Truncate(time.Second), Program: program}
	return w, w.entry(headName, &head{formatName, Version})
}

// AddFile copies a file of so many bytes.
func (w *Writer) AddFile(name string, size int64, from io.Reader) error {
	if err := checkName(name); err != nil {
		return err
	}
	f, err := w.add(filesPrefix+name, size, from)
	f.Name = name
	w.manifest.Files = append(w.manifest.Files, f)
	return err
}

// AddStream copies a stream as it is now. The error wraps
// jetstream.ErrStreamNotFound if there is none of that name. Of the event log every
// message is read first; if some are missing or cannot be read, the error matches
// [ingest.ErrLogDamaged].
func (w *Writer) AddStream(ctx context.Context, conn *nats.Conn, name string) error {
	if name == ingest.StreamName {
		if err := checkLog(ctx, conn); err != nil {
			return fmt.Errorf("backup: copy stream %s: %w", name, err)
		}
	}
	return w.copyStream(ctx, conn, name)
}

// copyStream copies a stream, whatever can be read of it.
func (w *Writer) copyStream(ctx context.Context, conn *nats.Conn, name string) error {
	part, buf := 0, make([]byte, 0, partBytes)
	flush := func() error {
		part++
		f, err := w.add(partName(name, part), int64(len(buf)), bytes.NewReader(buf))
		w.manifest.Parts = append(w.manifest.Parts, f)
		buf = buf[:0]
		return err
	}
	s, err := snapshot(ctx, conn, name, func(chunk []byte) error {
		for len(chunk) > 0 {
			n := min(len(chunk), partBytes-len(buf))
			buf, chunk = append(buf, chunk[:n]...), chunk[n:]
			if len(buf) == partBytes {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && len(buf) > 0 {
		err = flush()
	}
	if err == nil {
		s.Changes, err = changes(ctx, conn, &s)
	}
	if err != nil {
		return fmt.Errorf("backup: copy stream %s: %w", name, err)
	}
	w.manifest.Streams = append(w.manifest.Streams, s)
	if name == ingest.StreamName {
		w.manifest.LogID = logID(s.Config)
	}
	return nil
}

// Close ends the backup and gives what is in it; [ErrNoLog] where no event log is
// among its streams. It does not close what is written to.
func (w *Writer) Close() (*Manifest, error) {
	if w.manifest.LogID == "" {
		return nil, ErrNoLog
	}
	if err := w.entry(manifestName, &w.manifest); err != nil {
		return nil, err
	}
	if err := w.tar.Flush(); err != nil {
		return nil, fmt.Errorf("backup: write the manifest: %w", err)
	}
	end, err := seal(w.sum.Sum(nil), w.manifest.Created)
	if err == nil {
		_, err = w.to.Write(end)
	}
	if err != nil {
		return nil, fmt.Errorf("backup: write the end: %w", err)
	}
	return &w.manifest, nil
}

// entry writes a small entry of the format's own.
func (w *Writer) entry(name string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	_, err = w.add(name, int64(len(text)), bytes.NewReader(text))
	return err
}

func (w *Writer) add(name string, size int64, from io.Reader) (File, error) {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: w.manifest.Created}
	if err := w.tar.WriteHeader(h); err != nil {
		return File{}, fmt.Errorf("backup: write %s: %w", name, err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w.tar, sum, counter(w.wrote)), from)
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return File{}, fmt.Errorf("backup: write %s: %w", name, err)
	}
	return File{Name: name, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// counter tells of the bytes that pass.
type counter func(n int)

func (c counter) Write(b []byte) (int, error) {
	c(len(b))
	return len(b), nil
}

// logID is the id of the log whose stream has this configuration; empty: it is none.
func logID(config json.RawMessage) string {
	var c struct {
		Metadata map[string]string `json:"metadata"`
	}
	if json.Unmarshal(config, &c) != nil {
		return ""
	}
	return ingest.LogID(c.Metadata)
}
