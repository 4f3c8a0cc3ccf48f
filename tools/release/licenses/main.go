// Command licenses reports dependencies of holdmetrics whose licences are not compatible
// with Apache-2.0, and ends with 1 if there is one. It is run in the directory of its
// module.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"holdmetrics/tools/release/legal"
)

func main() {
	root := flag.String("root", "../..", "directory of the repository")
	list := flag.Bool("list", false, "print the licences of all dependencies")
	flag.Parse()
	if err := run(*root, *list); err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

func run(root string, list bool) error {
	modules, err := legal.Modules(context.Background(), root, "./cmd/holdmetrics", legal.Released)
	if err != nil {
		return err
	}
	refused := 0
	for _, m := range modules {
		if err := m.Check(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			refused++
		} else if list {
			fmt.Println(m.Path, m.Version, m.Licenses)
		}
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d modules are refused: replace them, or have their licences read", refused, len(modules))
	}
	fmt.Printf("licences of %d modules are compatible with Apache-2.0\n", len(modules))
	return nil
}
