package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/hold/rules"
)

// explainMost is of how many rules check tells in words what they do.
const explainMost = 20

func newRulesCheck() *cobra.Command {
	var tokens, holders []string
	var canonical bool
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a rules file and explain what it does",
		Long: `Check reads a rules file ('-' is the standard input), names every error as
FILE:LINE, and if there is none explains what each token gets. It ends with 1
where there is an error; a warning changes nothing.`,
		Example: `  holdmetrics rules check rules.yaml
  holdmetrics rules check rules.yaml --token LP-7 --holder pool-3
  holdmetrics rules check rules.yaml --canonical`,
		Args: usage.OneFile,
	}
	f := c.Flags()
	f.StringArrayVar(&tokens, "token", nil, "say which rule counts for this `token` (may be repeated)")
	f.StringArrayVar(&holders, "holder", nil, "say whether this `holder` counts (may be repeated)")
	f.BoolVar(&canonical, "canonical", false, "print the rules file that means the same, in the one form that the version is the hash of")
	c.RunE = func(c *cobra.Command, args []string) error {
		if canonical && len(tokens)+len(holders) > 0 {
			return usage.Errorf("--canonical prints the whole file; leave out --token and --holder")
		}
		if slices.Contains(tokens, "") || slices.Contains(holders, "") {
			return usage.Errorf("an id is not empty; give --token or --holder one")
		}
		r, err := openRules(c, args[0])
		if err != nil {
			return err
		}
		text := bufio.NewWriter(c.OutOrStdout())
		out := printing.SafeText(text)
		switch {
		case canonical:
			fmt.Fprint(text, r.Text())
		case len(tokens)+len(holders) > 0:
			checkIDs(out, r, tokens, holders)
		default:
			fmt.Fprintf(out, "version   %s\n", r.Version())
			if err := checkAll(out, r); err != nil {
				return err
			}
		}
		return text.Flush()
	}
	return c
}

// checkIDs says what the rules do with each of the ids.
func checkIDs(out io.Writer, r *rules.Rules, tokens, holders []string) {
	described := func(kind, id, as string) string {
		if id == as {
			return kind + " " + id
		}
		return kind + " " + id + ", which is " + as + ","
	}
	for _, id := range holders {
		as, counts := r.Holder(id), "counts"
		if r.Excluded(as) {
			counts = "is excluded"
		}
		fmt.Fprintf(out, "%s %s\n", described("holder", id, as), counts)
	}
	for _, id := range tokens {
		as := r.Token(id)
		e := r.Entry(as)
		by := "has no rule of its own"
		if e.Line > 0 {
			by = fmt.Sprintf("counts by the rule of %s in line %d", e.Name(), e.Line)
		}
		fmt.Fprintf(out, "%s %s\n", described("token", id, as), by)
		sentences(out, as, e.Rule)
	}
}

func sentences(out io.Writer, name string, r *hold.Rule) {
	for _, s := range rules.Sentences(name, r) {
		fmt.Fprintf(out, "  %s\n", s)
	}
}

// checkAll tells what the rules do.
func checkAll(out io.Writer, r *rules.Rules) error {
	what := "as they come"
	switch r.IDs() {
	case "none":
	case "evm":
		what = "0x addresses of holders and tokens in lower case"
	default:
		what = "0x addresses in lower case: " + r.IDs()
	}
	fmt.Fprintf(out, "ids       %s\n", what)
	ids, patterns := r.Exclusions()
	fmt.Fprintf(out, "excluded  %s\n\n", exclusions(ids, patterns))

	entries := r.Entries()
	if err := ruleTable(out, entries); err != nil {
		return err
	}
	for i := range entries {
		if i == explainMost {
			fmt.Fprintf(out, "\nand %s more, as the table says; --token ID explains one\n", printing.Counted(int64(len(entries)-i), "rule", "rules"))
			break
		}
		e := &entries[i]
		fmt.Fprintf(out, "\n%s\n", e.Name())
		name := e.Token
		if name == "" {
			name = "token"
		}
		sentences(out, name, e.Rule)
	}
	return nil
}

func exclusions(ids, patterns []string) string {
	var parts []string
	if len(ids) > 0 {
		parts = append(parts, printing.Counted(int64(len(ids)), "holder", "holders"))
	}
	for _, p := range patterns {
		parts = append(parts, "match "+p)
	}
	if len(parts) == 0 {
		return "nobody"
	}
	return strings.Join(parts, ", ")
}

// ruleTable prints the settings of the rules side by side, those that one of them has.
func ruleTable(out io.Writer, entries []rules.Entry) error {
	keys := []string{rules.KeyPolicy, rules.KeyMultiplier, rules.KeySeason, rules.KeyShortestRun, rules.KeyBoosts, rules.KeyHoldIDs}
	values := make([]map[string]string, len(entries))
	has := map[string]bool{}
	for i := range entries {
		values[i] = map[string]string{}
		for _, s := range rules.Settings(entries[i].Rule) {
			values[i][s.Key], has[s.Key] = s.Value, true
		}
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return !has[k] })
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "rule\tline\t%s\n", strings.Join(keys, "\t"))
	for i := range entries {
		line := "-"
		if entries[i].Line > 0 {
			line = strconv.Itoa(entries[i].Line)
		}
		row := []string{entries[i].Name(), line}
		for _, k := range keys {
			v := values[i][k]
			if v == "" {
				v = "-"
			}
			row = append(row, v)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

func newRulesDiff() *cobra.Command {
	var exitCode bool
	var tokens []string
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare what two rules files mean",
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
		text := bufio.NewWriter(c.OutOrStdout())
		out := printing.SafeText(text)
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
		if err := text.Flush(); err != nil {
			return err
		}
		if exitCode && len(changes) > 0 {
			return errors.New("the rules differ")
		}
		return nil
	}
	return c
}
