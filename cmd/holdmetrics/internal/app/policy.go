package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/hold"
	"holdmetrics/hold/rules"
)

// policyName is the file in the data directory that names its policy. It stands
// beside the log and not in the store, since the store may be deleted and must
// come back the same.
const policyName = "POLICY"

// fixPolicy is the default policy of the data directory's first generation: what it
// was made with, or, where it is new, what the settings say, which is fixed then. r
// are the rules that the settings name; they may be nil.
func fixPolicy(s *settings.Settings, r *rules.Rules) (policy hold.Policy, fresh bool, err error) {
	path := filepath.Join(s.DataDir, policyName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		policy = s.Policy
		if r != nil {
			policy = r.DefaultPolicy()
		}
		return policy, true, writePolicy(path, policy)
	}
	if err != nil {
		return 0, false, fmt.Errorf("the policy of the data directory cannot be read: %w", err)
	}
	fixed, err := hold.ParsePolicy(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, false, fmt.Errorf("%s does not name a policy that this version knows: %w", path, err)
	}
	if s.PolicyGiven && fixed != s.Policy {
		return 0, false, fmt.Errorf("the data directory %s was made with policy %s, which stays; leave out %s, or choose another directory with --%s",
			s.DataDir, fixed, settings.Describe(settings.KeyPolicy), settings.KeyDataDir)
	}
	return fixed, false, nil
}

// writePolicy writes the file whole or not at all, and durably: the log that
// follows is worth nothing without it.
func writePolicy(path string, policy hold.Policy) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("the policy of the data directory cannot be written: %w", err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), policyName+".*")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, policy)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
