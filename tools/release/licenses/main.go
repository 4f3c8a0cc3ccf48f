// Command licenses reports dependencies of holdmetrics whose licences are not compatible
// with Apache-2.0, and ends with 1 if there is one. It is run in the directory of its
// module.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

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
	refused, all := 0, 0
	for _, p := range legal.Programs {
		modules, err := legal.Modules(context.Background(), filepath.Join(root, p.Module), p.Package, p.On(legal.Released))
		if err != nil {
			return err
		}
		all += len(modules)
		for _, m := range modules {
			if err := m.Check(); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
				refused++
			} else if list {
				fmt.Println(p.Name, m.Path, m.Version, m.Licenses)
			}
		}
		fmt.Printf("%s contains %d modules\n", p.Name, len(modules))
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d modules are refused: replace them, or have their licences read", refused, all)
	}
	fmt.Println("their licences are compatible with Apache-2.0")
	return nil
}
