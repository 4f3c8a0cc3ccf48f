package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/app"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/hold/rules"
)

func newRules() *cobra.Command {
	c := &cobra.Command{
		Use:   "rules",
		Short: "Check and compare rules files",
		Long: `A rules file is YAML, and all of it is optional:

  policy: merge                  # of overlapping holds: merge (the default) or sum
  ids: evm                       # 0x and 40 hex digits: in lower case. Or {holders: evm, tokens: none}
  exclude:                       # holders that are not counted at all
    - "0x000000000000000000000000000000000000dEaD"
    - match: "pool-*"
  tokens:
    - token: GOLD                # this id, to the letter
      policy: sum                # else the one above
      multiplier: 2.5            # of the score, not of the time held
      season: {from: 2026-01-01, to: 2026-07-01T00:00:00Z}   # either may be left out
      shortest_run: 7d           # what was held without a gap for less does not count
      boosts:
        by: run                  # how long it was held without a gap (the default), or hold: each hold alone
        steps:
          - {after: 30d, factor: 1.5}
          - {after: 90d, factor: 2}
      hold_ids: required         # events must carry a hold_id; else optional
    - match: "LP-*"              # * is any text, ? any one character, \ takes the next one as it stands
      multiplier: 0.5

One rule counts for a token, alone: the one with its exact id, wherever it
stands; else the first whose pattern matches; else the default policy and nothing
more. Ids are normalised where events are read; the log keeps them as they were sent.
The version of the rules is a hash of what they mean: comments and the order of keys
do not change it.`,
	}
	c.AddCommand(newRulesCheck(), newRulesDiff())
	return c
}

// openRules reads a rules file, '-' from the standard input. Problems and warnings are
// reported on the error output, one a line; then the error only counts them.
func openRules(c *cobra.Command, path string) (*rules.Rules, error) {
	return app.ReadRules(path, c.InOrStdin(), func(p rules.Problem, warning bool) {
		if warning {
			p.Text = "warning: " + p.Text
		}
		fmt.Fprintln(printing.SafeText(c.ErrOrStderr()), p)
	})
}
