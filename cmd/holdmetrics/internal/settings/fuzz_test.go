package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzDotEnv reads any file of variables. No error quotes a line of it.
func FuzzDotEnv(f *testing.F) {
	for _, seed := range []string{"A=1\n", "# x\nexport B='2'\n", "PASSWORD sesame\n", "A=\"open\n", "=\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "env")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readDotEnv(func(name string) string {
			if name == EnvDotEnv {
				return path
			}
			return ""
		})
		if err == nil {
			return
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); len(line) > 20 && strings.Contains(err.Error(), line) {
				t.Fatalf("the error %q quotes the file", err)
			}
		}
	})
}

// FuzzSizesAndDurations reads any text as a size and as a duration.
func FuzzSizesAndDurations(f *testing.F) {
	for _, seed := range []string{"", "1", "16MiB", "1.5GB", "5m", "1d12h", "-1s", "9999999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseSize(text); err == nil && n < 0 {
			t.Fatalf("the size %q is %d", text, n)
		}
		_, _ = ParseDuration(text)
	})
}
