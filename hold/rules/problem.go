package rules

import (
	"errors"
	"fmt"
	"strings"
)

// ErrRules is wrapped by every error of [Parse].
var ErrRules = errors.New("rules: the rules file has errors")

// Problem is what is wrong, or suspicious, in a line of a rules file.
type Problem struct {
	Name string // of the file
	Line int    // from 1
	Text string // what is wrong, and what would be right
}

// String is the problem as compilers print theirs: name:line: text.
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.Name, p.Line, p.Text) }

// Problems are all that keeps a file from being read, by line. They are an error
// that wraps [ErrRules], a line each.
type Problems []Problem

// Error is the problems, a line each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap is [ErrRules].
func (p Problems) Unwrap() error { return ErrRules }
