package about

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

func TestBuild(t *testing.T) {
	t.Parallel()
	on := " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	settings := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abcd"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: modified}}
	}
	for _, c := range []struct {
		info debug.BuildInfo
		line string
	}{
		{debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "holdmetrics devel" + on},
		{debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "holdmetrics v1.2.3" + on},
		{debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: settings("false")}, "holdmetrics v1.2.3 commit 0123abcd" + on},
		{debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: settings("true")}, "holdmetrics 0123abcd commit 0123abcd (modified)" + on},
	} {
		b := of(&c.info)
		if got := b.Line(); got != c.line {
			t.Errorf("the line is %q, want %q", got, c.line)
		}
		if len(c.info.Settings) > 0 && !b.Time.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
			t.Errorf("the time of the commit is %v", b.Time)
		}
	}
}

// Each command has a page, but for the hidden ones.
func TestManualPages(t *testing.T) {
	t.Parallel()
	root := &cobra.Command{Use: "holdmetrics", Short: "Short of the root"}
	run := func(*cobra.Command, []string) {}
	root.AddCommand(NewManual(), &cobra.Command{Use: "seal HORIZON", Short: "Make old time final", Run: run}, &cobra.Command{Use: "former", Hidden: true, Run: run})
	dir := filepath.Join(t.TempDir(), "share", "man1")
	root.SetArgs([]string{"man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "holdmetrics-seal.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".TH", "Make old time final", "holdmetrics seal HORIZON"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q:\n%s", want, page)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "holdmetrics-former.1")); err == nil {
		t.Error("a hidden command has a page")
	}
}
