package about

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// NewManual returns the command man.
func NewManual() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages to a directory",
		Long: `Man writes a manual page for each command to a directory, as holdmetrics-NAME.1.
The packages for Linux have them already.`,
		Example: `  holdmetrics man ~/.local/share/man/man1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			build := Current()
			head := &doc.GenManHeader{Section: "1", Source: "holdmetrics " + build.Version, Manual: "holdmetrics"}
			if !build.Time.IsZero() {
				head.Date = &build.Time // the same pages from the same commit
			}
			root := c.Root()
			root.DisableAutoGenTag = true
			if err := doc.GenManTree(root, head, args[0]); err != nil {
				return fmt.Errorf("writing the manual pages: %w", err)
			}
			return nil
		},
	}
}
