// Package about has what a program says of itself: its version, and its manual pages.
package about

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Build is what a program was built from.
type Build struct {
	Version  string    // of the module: a tag, or the time and the commit; or "devel"
	Commit   string    // of the repository; empty if it was built outside of one
	Time     time.Time // of the commit, or zero
	Modified bool      // files differed from the commit
}

// Current returns what this program was built from.
func Current() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{Version: "unknown"}
	}
	return of(info)
}

func of(info *debug.BuildInfo) Build {
	b := Build{Version: "devel"}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time, _ = time.Parse(time.RFC3339, s.Value) // zero if it is none
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	} else if b.Commit != "" {
		b.Version = b.Commit
	}
	return b
}

// Line returns the line that version and --version print.
func (b Build) Line() string {
	var commit strings.Builder
	if b.Commit != "" {
		fmt.Fprintf(&commit, "commit %s ", b.Commit)
		if b.Modified {
			commit.WriteString("(modified) ")
		}
	}
	return fmt.Sprintf("holdmetrics %s %s%s %s/%s\n", b.Version, &commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// NewVersion returns the command version.
func NewVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and Go version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := io.WriteString(c.OutOrStdout(), Current().Line())
			return err
		},
	}
}
