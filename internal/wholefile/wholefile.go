// Package wholefile writes small files that a crash leaves as they were or as they are to
// be, and never in part.
package wholefile

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace writes a file of mode 0600 in place of the one that is there, if any. The
// directory must be there. After an error the old file stays.
func Replace(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
