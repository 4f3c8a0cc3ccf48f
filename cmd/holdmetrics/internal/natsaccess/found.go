package natsaccess

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// A server notes for its user, by the port of its NATS, where its data directory is, so
// that the commands of that user find the credentials of the operator. The note has no
// secret: the file that it leads to is readable by the user alone.

// notesDirectory is the directory of the notes in that of the runtime files of a user.
const notesDirectory = "holdmetrics/nats"

// notes returns the directory of the notes of this user.
func notes(runtime string) string { return filepath.Join(runtime, filepath.FromSlash(notesDirectory)) }

// Note notes that the server of a port has a data directory, in a directory of
// the user. It removes notes of data directories that are gone. remove removes the note.
func Note(runtime, port, dataDir string) (remove func() error, err error) {
	dataDir, err = filepath.Abs(dataDir)
	if err != nil {
		return nil, err
	}
	dir := notes(runtime)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sweep(dir)
	path := filepath.Join(dir, port)
	if err := writePrivate(path, []byte(dataDir)); err != nil {
		return nil, err
	}
	return func() error {
		if text, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(text)) != dataDir {
			return nil // another server has the port by now
		}
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}, nil
}

// sweep removes the notes of data directories that are gone.
func sweep(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if _, err := os.Stat(UsersOf(strings.TrimSpace(string(text))).SeedPath()); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(path) // the next start tries again
		}
	}
}

// Noted returns the file with the credentials of the operator of the server that listens
// on a port of this machine, or "" if none of this user does.
func Noted(runtime, port string) string {
	text, err := os.ReadFile(filepath.Join(notes(runtime), filepath.Base(port)))
	if err != nil || runtime == "" {
		return ""
	}
	path := UsersOf(strings.TrimSpace(string(text))).SeedPath()
	if !Readable(path) {
		return ""
	}
	return path
}

// LocalPort returns the port of an address of this machine, and false for any other
// address.
func LocalPort(address string) (port string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	ip := net.ParseIP(host)
	return port, host == "localhost" || ip != nil && ip.IsLoopback()
}
