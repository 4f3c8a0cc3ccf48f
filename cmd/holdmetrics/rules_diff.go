package main

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold/rules"
)

func newRulesDiff() *cobra.Command {
	var exitCode bool
	var tokens []string
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say which tokens and holders count in another way by other rules",
		Long: `Diff compares what two rules files mean, not their words, and prints what counts
in another way: tokens, holders and ids. /dev/null stands for having no rules but
policy merge.`,
		Example: `  holdmetrics rules diff rules.yaml next.yaml
  holdmetrics rules diff rules.yaml next.yaml --token GOLD --token LP-7
  holdmetrics rules diff rules.yaml next.yaml --exit-code || echo "they differ"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return errors.New("name two rules files, the old one and the new one")
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVar(&exitCode, "exit-code", false, "end with 1 where they differ")
	f.StringArrayVar(&tokens, "token", nil, "compare what counts for this `token` (may be repeated), and nothing else")
	c.RunE = func(c *cobra.Command, args []string) error {
		if args[0] == "-" && args[1] == "-" {
			return usage.Errorf("only one of the two can be the standard input")
		}
		old, err := openRules(c, args[0])
		if err != nil {
			return err
		}
		next, err := openRules(c, args[1])
		if err != nil {
			return err
		}
		changes := rules.Diff(old, next)
		if len(tokens) > 0 {
			changes = rules.DiffTokens(old, next, tokens)
		}
		out := bufio.NewWriter(c.OutOrStdout())
		fmt.Fprintf(out, "%s %s -> %s %s\n", args[0], old.Version(), args[1], next.Version())
		switch {
		case old.Version() == next.Version():
			fmt.Fprintln(out, "both mean the same")
		case len(changes) == 0:
			fmt.Fprintln(out, "nothing counts in another way")
		}
		for _, change := range changes {
			fmt.Fprintf(out, "\n%s\n", change.What)
			for _, how := range change.How {
				fmt.Fprintf(out, "  %s\n", how)
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if exitCode && len(changes) > 0 {
			return errors.New("the rules differ")
		}
		return nil
	}
	return c
}
