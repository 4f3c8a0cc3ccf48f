package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Verify reads a backup to its end and returns what is in it, if all of it is as
// it was written. read is called with the count of bytes as they are read; it may be
// nil. Errors wrap [ErrNotABackup], [ErrVersion] or [ErrDamaged], or are those of
// reading.
func Verify(ctx context.Context, from io.Reader, read func(n int)) (*Manifest, error) {
	t, err := begin(ctx, from, read)
	if err != nil {
		return nil, err
	}
	var found []File
	for {
		h, err := t.next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: it ends before its manifest", ErrDamaged)
		}
		if err != nil {
			return nil, err
		}
		if h.Name == manifestName {
			return t.manifest(h.Size, found)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, t.tar); err != nil {
			return nil, damaged(err)
		}
		found = append(found, File{h.Name, h.Size, hex.EncodeToString(sum.Sum(nil))})
	}
}

// Target takes what a backup has.
type Target interface {
	// File takes a file.
	File(f File, from io.Reader) error
	// Stream takes the snapshot of a stream.
	Stream(s Stream, from io.Reader) error
}

// Restore gives what a backup has to a target, in the order of the backup. The
// manifest is that of [Verify], which must have found the same file good.
func Restore(ctx context.Context, from io.Reader, m *Manifest, to Target, read func(n int)) error {
	t, err := begin(ctx, from, read)
	if err != nil {
		return err
	}
	files, streams := m.Files, m.Streams
	h, err := t.next()
	for err == nil && h.Name != manifestName {
		if name, ok := strings.CutPrefix(h.Name, filesPrefix); ok {
			if len(files) == 0 || files[0].Name != name {
				return fmt.Errorf("%w: it was changed meanwhile", ErrDamaged)
			}
			if err := to.File(files[0], t.tar); err != nil {
				return err
			}
			files = files[1:]
			h, err = t.next()
			continue
		}
		stream, ok := streamOfPart(h.Name)
		if !ok || len(streams) == 0 || streams[0].Name != stream {
			return fmt.Errorf("%w: it was changed meanwhile", ErrDamaged)
		}
		parts := &parts{entries: t, stream: stream}
		if err := to.Stream(streams[0], parts); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, parts); err != nil {
			return err
		}
		streams, h, err = streams[1:], parts.after, parts.err
	}
	if err == nil && len(files)+len(streams) > 0 {
		err = fmt.Errorf("%w: it was changed meanwhile", ErrDamaged)
	}
	return err
}

// entries reads the entries of a backup.
type entries struct {
	ctx     context.Context
	file    *sealed
	tar     *tar.Reader
	version int
}

// begin reads the first entry.
func begin(ctx context.Context, from io.Reader, read func(n int)) (*entries, error) {
	if read != nil {
		from = io.TeeReader(from, counter(read))
	}
	t := &entries{ctx: ctx, file: newSealed(from)}
	t.tar = tar.NewReader(t.file)
	h, err := t.next()
	if err != nil || h.Name != headName {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, ErrNotABackup
	}
	var first head
	if err := json.NewDecoder(io.LimitReader(t.tar, 4096)).Decode(&first); err != nil || first.Format != formatName {
		return nil, ErrNotABackup
	}
	if first.Version < 1 {
		return nil, fmt.Errorf("%w: it says that it is of version %d", ErrDamaged, first.Version)
	}
	if first.Version > Version {
		return nil, fmt.Errorf("%w (it is of version %d, this program reads %d)", ErrVersion, first.Version, Version)
	}
	t.version = first.Version
	return t, nil
}

// next is the next entry; io.EOF at the end.
func (t *entries) next() (*tar.Header, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	h, err := t.tar.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, damaged(err)
	}
	if err == nil && h.Typeflag != tar.TypeReg {
		return nil, fmt.Errorf("%w: it has an entry %q that is no file", ErrDamaged, h.Name)
	}
	return h, err
}

// manifest reads the manifest, compares it with what was found before it, and sees to
// it that the file ends there as it should.
func (t *entries) manifest(size int64, found []File) (*Manifest, error) {
	if size > mostManifest {
		return nil, fmt.Errorf("%w: its manifest is too large", ErrDamaged)
	}
	text, err := io.ReadAll(t.tar)
	if err != nil {
		return nil, damaged(err)
	}
	m := new(Manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%w: its manifest: %w", ErrDamaged, err)
	}
	if m.Version != t.version {
		return nil, fmt.Errorf("%w: it is of version %d, and its manifest of %d", ErrDamaged, t.version, m.Version)
	}
	listed := make([]File, 0, len(m.Files)+len(m.Parts))
	for _, f := range m.Files {
		if err := checkName(f.Name); err != nil {
			return nil, err
		}
		f.Name = filesPrefix + f.Name
		listed = append(listed, f)
	}
	listed = append(listed, m.Parts...)
	for i := range max(len(listed), len(found)) {
		switch {
		case i >= len(found):
			return nil, fmt.Errorf("%w: %s is absent", ErrDamaged, listed[i].Name)
		case i >= len(listed) || listed[i].Name != found[i].Name:
			return nil, fmt.Errorf("%w: it has %s, which its manifest does not list there", ErrDamaged, found[i].Name)
		case listed[i] != found[i]:
			return nil, fmt.Errorf("%w: %s is not what was written", ErrDamaged, found[i].Name)
		}
	}
	streams := make([]string, 0, len(m.Streams))
	for _, s := range m.Streams {
		streams = append(streams, s.Name)
	}
	for _, p := range m.Parts {
		if name, ok := streamOfPart(p.Name); !ok || !slices.Contains(streams, name) {
			return nil, fmt.Errorf("%w: %s is of no stream", ErrDamaged, p.Name)
		}
	}
	if err := t.end(m); err != nil {
		return nil, err
	}
	return m, nil
}

// end reads what is behind the manifest.
func (t *entries) end(m *Manifest) error {
	h, err := t.next()
	if err == nil && t.version >= 2 && h.Name == sealName {
		return t.file.check(m.Created)
	}
	switch {
	case err == nil:
		return fmt.Errorf("%w: it goes on behind its manifest, with %s", ErrDamaged, h.Name)
	case !errors.Is(err, io.EOF):
		return err
	case t.version >= 2:
		return fmt.Errorf("%w: it ends before the SHA-256 of all of it", ErrDamaged)
	}
	behind, err := io.Copy(io.Discard, t.file)
	if err == nil && behind > 0 {
		err = fmt.Errorf("%w: %d bytes stand behind its end", ErrDamaged, behind)
	}
	return err
}

// damaged is an error of reading a tar file, which an end that comes too early is too.
func damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader) || errors.As(err, new(*json.SyntaxError)) ||
		errors.As(err, new(*json.UnmarshalTypeError)) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return fmt.Errorf("backup: read: %w", err)
}

// parts reads the parts of one stream as one, from the entry that is open.
type parts struct {
	entries *entries
	stream  string
	after   *tar.Header // the entry behind the last part
	err     error       // of looking for it; io.EOF: there is none
	ended   bool
}

func (p *parts) Read(b []byte) (int, error) {
	for !p.ended {
		n, err := p.entries.tar.Read(b)
		if n > 0 || err == nil {
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			return 0, damaged(err)
		}
		if p.after, p.err = p.entries.next(); p.err != nil {
			p.ended = true
			return 0, p.err
		}
		if stream, ok := streamOfPart(p.after.Name); !ok || stream != p.stream {
			p.ended = true
		}
	}
	return 0, io.EOF
}
