package printing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Progress is a bar on a terminal; elsewhere it shows nothing.
type Progress struct{ bar *progressbar.ProgressBar }

// NewProgress shows how many bytes of files were read.
func NewProgress(c *cobra.Command, files []string) *Progress {
	var total int64
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			total = -1 // a spinner instead of a bar
			break
		}
		total += info.Size()
	}
	return NewBar(c, "reading", total)
}

// NewBar shows how many bytes were done, of so many; -1: unknown.
func NewBar(c *cobra.Command, what string, total int64) *Progress {
	return startBar(c, what, total, progressbar.OptionShowBytes(true))
}

// NewCountBar shows how many of so many things were done.
func NewCountBar(c *cobra.Command, what string, total int64) *Progress {
	return startBar(c, what, total, progressbar.OptionShowCount(), progressbar.OptionShowIts())
}

func startBar(c *cobra.Command, what string, total int64, options ...progressbar.Option) *Progress {
	p := new(Progress)
	out := c.ErrOrStderr()
	if !IsTerminal(out) {
		return p
	}
	p.bar = progressbar.NewOptions64(total, append(options,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(what),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond),
	)...)
	return p
}

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Add counts n more.
func (p *Progress) Add(n int) {
	if p.bar != nil {
		_ = p.bar.Add(n) // a bar that cannot be drawn stops nothing
	}
}

// Clear takes the bar off the terminal.
func (p *Progress) Clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// Interrupted returns the error of a command, in words if Ctrl-C ended it.
func Interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}

// Counted returns a number with its noun: "1 row", "2 rows".
func Counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
