package legal

import "slices"

// Program is a program of a release.
type Program struct {
	Name    string
	Module  string // directory of its module in the repository
	Package string // of the module
	not     string // system that it cannot be built for
}

// Programs are the programs of a release. The first one is the product.
var Programs = []Program{
	{"holdmetrics", ".", "./cmd/holdmetrics", ""},
	// immudb 1.5.0 declares a function twice for FreeBSD, and later versions have another licence.
	{"holdmetrics-audit", "audit", "./cmd/holdmetrics-audit", "freebsd"},
}

// On returns those of the targets that the program can be built for.
func (p Program) On(targets []Target) []Target {
	return slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.OS == p.not })
}

// Released are the systems that releases are made for.
var Released = []Target{
	{"linux", "amd64"}, {"linux", "arm64"},
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
	{"freebsd", "amd64"}, {"freebsd", "arm64"},
}
