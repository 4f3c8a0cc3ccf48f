package immu_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"holdmetrics/audit/immu"
	"holdmetrics/audit/immutest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

func pairs(from, n int) []immu.Pair {
	out := make([]immu.Pair, n)
	for i := range out {
		out[i] = immu.Pair{Key: fmt.Appendf(nil, "key:%06d", from+i), Value: fmt.Appendf(nil, "value %d", from+i)}
	}
	return out
}

func set(t *testing.T, c *immu.Client, from, n int) {
	t.Helper()
	if err := c.Set(t.Context(), pairs(from, n)); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestEverythingThatWasWrittenIsVerified(t *testing.T) {
	t.Parallel()
	s := immutest.Start(t, t.TempDir())
	cfg := s.Config(t)
	c := immutest.Open(t, cfg)
	for i, n := range []int{1, 1000, 7, 300} {
		set(t, c, i*1000, n)
		if value, err := c.Get(t.Context(), pairs(i*1000, 1)[0].Key); err != nil || string(value) != fmt.Sprintf("value %d", i*1000) {
			t.Errorf("%q, %v", value, err)
		}
	}
	if value, err := c.Get(t.Context(), []byte("key:000000")); err != nil || string(value) != "value 0" {
		t.Errorf("of an early transaction: %q, %v", value, err)
	}
	if _, err := c.Get(t.Context(), []byte("absent")); !errors.Is(err, immu.ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
	seen := 0
	if err := c.Each(t.Context(), func(e *immu.Entry) error {
		if e.Err != nil || !e.Plain || "value "+fmt.Sprint(atoi(t, string(e.Key[4:]))) != string(e.Value) {
			t.Errorf("%+v", e)
		}
		seen++
		return nil
	}); err != nil || seen != 1308 {
		t.Errorf("%d entries, %v", seen, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(cfg.StateFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file: %v, %v", info, err)
	}
	c = immutest.Open(t, cfg)
	set(t, c, 9000, 3)
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(text, "%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAServerThatWentBackIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := immutest.Start(t, dir)
	cfg := s.Config(t)
	c := immutest.Open(t, cfg)
	set(t, c, 0, 10)
	s.Stop()
	old := copyDir(t, dir)
	s = immutest.Start(t, dir)
	cfg.Address = s.Address
	c = immutest.Open(t, cfg)
	set(t, c, 10, 10)
	set(t, c, 20, 10)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	before, err := os.ReadFile(cfg.StateFile)
	if err != nil {
		t.Fatal(err)
	}

	s = immutest.Start(t, old)
	cfg.Address = s.Address
	if _, err := immu.Open(t.Context(), cfg); !errors.Is(err, immu.ErrRolledBack) {
		t.Errorf("rolled back: %v", err)
	}
	// Somebody else writes to it, until it has as many transactions, and more.
	other := cfg
	other.StateFile, other.First = filepath.Join(t.TempDir(), "other.json"), true
	o := immutest.Open(t, other)
	set(t, o, 10, 10)
	for i := range 3 {
		set(t, o, 500+i, 1)
		if _, err := immu.Open(t.Context(), cfg); !errors.Is(err, immu.ErrRewritten) {
			t.Errorf("with %d other transactions: %v", i+1, err)
		}
	}
	if after, err := os.ReadFile(cfg.StateFile); err != nil || string(after) != string(before) {
		t.Errorf("the state file was changed: %s, %v", after, err)
	}
}

func TestBadCredentialsDatabasesAndStates(t *testing.T) {
	t.Parallel()
	s := immutest.Start(t, t.TempDir())
	good := s.Config(t)
	c := immutest.Open(t, good)
	set(t, c, 0, 1)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "damaged")
	if err := os.WriteFile(damaged, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	another := immutest.Start(t, t.TempDir())
	for name, test := range map[string]struct {
		change func(*immu.Config)
		want   error
	}{
		"password":       {func(c *immu.Config) { c.Password = "wrong-secret" }, immu.ErrCredentials},
		"user":           {func(c *immu.Config) { c.User = "nobody" }, immu.ErrCredentials},
		"token":          {func(c *immu.Config) { c.Token = "not-a-token" }, immu.ErrCredentials},
		"database":       {func(c *immu.Config) { c.Database = "absent" }, immu.ErrDatabase},
		"state gone":     {func(c *immu.Config) { c.StateFile = filepath.Join(t.TempDir(), "gone") }, immu.ErrNoState},
		"state damaged":  {func(c *immu.Config) { c.StateFile = damaged }, nil},
		"another server": {func(c *immu.Config) { c.Address = another.Address }, immu.ErrOtherServer},
		"away":           {func(c *immu.Config) { c.Address = "127.0.0.1:1" }, immu.ErrAway},
	} {
		cfg := good
		test.change(&cfg)
		_, err := immu.Open(t.Context(), cfg)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
			continue
		}
		t.Log(err)
		for _, secret := range []string{"wrong-secret", "not-a-token"} {
			if errorHas(err, secret) {
				t.Errorf("%s: the error has the secret: %v", name, err)
			}
		}
	}
	first := good
	first.StateFile, first.First = filepath.Join(t.TempDir(), "new"), true
	immutest.Open(t, first)
}

func errorHas(err error, text string) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if s := err.Error(); len(s) >= len(text) {
			for i := 0; i+len(text) <= len(s); i++ {
				if s[i:i+len(text)] == text {
					return true
				}
			}
		}
	}
	return false
}
