// Command holdmetrics-audit keeps a copy of the log in immudb, and compares the log with
// everything that was made from it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"holdmetrics/ingest/rows"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, getenv func(string) string, out, errOut io.Writer) int {
	root := newRoot(getenv)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(errOut, "holdmetrics-audit: "+rows.Safe(strings.ReplaceAll(err.Error(), "\n", "; ")))
		return 1
	}
	return 0
}

func newRoot(getenv func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use:   "holdmetrics-audit",
		Short: "Keep and check a tamper-evident copy of the log",
		Long: `holdmetrics-audit follow copies the event log to an immudb server, which nobody can
change afterwards without being seen. holdmetrics-audit verify compares the log, or an
export of it, with that copy, with checkpoints, stores and snapshots.

Checkpoints, proofs and the witness need no immudb: see 'holdmetrics audit --help'.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newFollow(getenv), newVerify(getenv))
	return root
}

// released is the version of a release, which sets it: Go knows that of the product's
// module alone.
var released string

func version() string {
	if released != "" {
		return released
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "devel"
}
