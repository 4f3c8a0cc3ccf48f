// Command document writes docs/settings.md from the flags of serve, gateway and worker.
package main

import (
	"fmt"
	"os"

	"holdmetrics/cmd/holdmetrics/internal/settings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: document FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(settings.Markdown()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
