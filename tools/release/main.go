// Command release makes everything that a release of holdmetrics consists of: programs,
// archives, packages for Linux, a bill of materials of each program, licence texts and
// checksums. The same commit and the same version of Go give the same bytes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"holdmetrics/tools/release/legal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	root := flag.String("root", "../..", "directory of the repository")
	out := flag.String("out", "../../bin/release", "directory for the release, which is emptied first")
	targets := flag.String("targets", "all", "systems to build for, as OS/ARCH, with commas between")
	dirty := flag.Bool("dirty", false, "build although files differ from the commit")
	flag.Parse()
	if err := run(ctx, *root, *out, *targets, *dirty); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root, out, names string, dirty bool) error {
	targets := legal.Released
	if names != "all" {
		targets = nil
		for _, name := range strings.Split(names, ",") {
			system, arch, ok := strings.Cut(name, "/")
			if !ok {
				return fmt.Errorf("target %q is not OS/ARCH", name)
			}
			targets = append(targets, legal.Target{OS: system, Arch: arch})
		}
	}
	r, err := newRelease(ctx, root, out, targets, dirty)
	if err != nil {
		return err
	}
	return r.make(ctx, os.Stdout)
}
