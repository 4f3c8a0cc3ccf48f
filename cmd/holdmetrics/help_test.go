package main

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
)

// Every command says what it does in one short imperative line.
func TestHelpIsShort(t *testing.T) {
	t.Parallel()
	third := regexp.MustCompile(`^[A-Z][a-z]+s\b`) // "Shows", and not "Show"
	eachCommand(newRoot(), func(c *cobra.Command) {
		short := c.Short
		switch {
		case short == "":
			t.Errorf("%s has no short help", c.CommandPath())
		case len(short) >= 60:
			t.Errorf("%s: %d bytes, want fewer than 60: %s", c.CommandPath(), len(short), short)
		case !unicode.IsUpper([]rune(short)[0]) || strings.HasSuffix(short, "."):
			t.Errorf("%s: begin with a capital and end without a full stop: %s", c.CommandPath(), short)
		case third.MatchString(short):
			t.Errorf("%s: begin with an imperative: %s", c.CommandPath(), short)
		}
	})
}
