package immu

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"holdmetrics/internal/wholefile"
)

// state is what was verified last.
type state struct {
	Version  int    `json:"holdmetrics_immudb"`
	Server   string `json:"server"` // its id
	Database string `json:"database"`
	Tx       uint64 `json:"tx"`
	Hash     []byte `json:"hash"` // of the transaction and all before it
}

func (s *state) hash() (h [sha256.Size]byte) {
	copy(h[:], s.Hash)
	return h
}

// readState reads a state file; nil if there is none.
func readState(path string) (*state, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil || s.Version != 1 || s.Server == "" || s.Tx > 0 && len(s.Hash) != sha256.Size {
		return nil, fmt.Errorf("%s is not a state of immudb, or is damaged: put it back from a backup", path)
	}
	return &s, nil
}

// write replaces the state file at once.
func (s *state) write(path string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return wholefile.Replace(path, append(text, '\n'))
}
