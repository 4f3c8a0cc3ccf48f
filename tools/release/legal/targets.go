package legal

// Program is a program of a release.
type Program struct {
	Name    string
	Module  string // directory of its module in the repository
	Package string // of the module
}

// Programs are the programs of a release. The first one is the product.
var Programs = []Program{
	{"holdmetrics", ".", "./cmd/holdmetrics"},
	{"holdmetrics-audit", "audit", "./cmd/holdmetrics-audit"},
}

// Released are the systems that releases are made for.
var Released = []Target{
	{"linux", "amd64"}, {"linux", "arm64"},
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
	{"freebsd", "amd64"}, {"freebsd", "arm64"},
}
