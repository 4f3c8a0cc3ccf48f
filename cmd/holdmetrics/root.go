package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdmetrics/cmd/holdmetrics/internal/about"
	"holdmetrics/cmd/holdmetrics/internal/app"
	"holdmetrics/cmd/holdmetrics/internal/auditcmd"
	"holdmetrics/cmd/holdmetrics/internal/auditlogcmd"
	"holdmetrics/cmd/holdmetrics/internal/credscmd"
	"holdmetrics/cmd/holdmetrics/internal/health"
	"holdmetrics/cmd/holdmetrics/internal/keyscmd"
	"holdmetrics/cmd/holdmetrics/internal/logcmd"
	"holdmetrics/cmd/holdmetrics/internal/logincmd"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/rows"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// streams are the process's own, or a test's.
type streams struct {
	in       io.Reader
	out, err io.Writer
	getenv   settings.Getenv // nil: no variable is set
}

// run runs one command line and gives its exit code.
func run(ctx context.Context, args []string, io streams) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	if io.getenv == nil {
		io.getenv = func(string) string { return "" }
	}
	cmd, err := root.ExecuteContextC(settings.WithEnvironment(ctx, io.getenv))
	if err == nil {
		return exitOK
	}
	// One line, so that logs and scripts can take it whole.
	// What a file, a client or a server says is escaped, as everywhere on a terminal.
	fmt.Fprintln(io.err, "holdmetrics: "+settings.SecretsOf(cmd).Hide(rows.Safe(oneLine(err.Error()))))
	if errors.As(err, new(usage.Error)) {
		fmt.Fprintf(io.err, "See '%s --help'.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// oneLine puts the lines of an error behind one another.
func oneLine(text string) string {
	var b strings.Builder
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch so := b.String(); {
		case so == "" || line == "":
		case strings.HasSuffix(so, ":"):
			b.WriteString(" ")
		default:
			b.WriteString("; ")
		}
		b.WriteString(line)
	}
	return b.String()
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "holdmetrics",
		Short: "Exact scores of who held which token for how long",
		Long: `holdmetrics keeps an exact, replayable score for every holder of a token.

Start the server with 'holdmetrics serve', feed it with 'holdmetrics import' or
'holdmetrics record', read it with 'holdmetrics stats', 'top' and 'explain'. 'holdmetrics score' scores
files with no server at all.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if c.Hidden || readsNoSettings(c) {
				return nil // they read no settings
			}
			if settings.Roles[c.Name()] == nil { // those have a setting of it
				app.LimitMemory(0)
			}
			return settings.UseDotEnv(c)
		},
	}
	root.SetVersionTemplate(about.Current().Line())
	root.AddCommand(
		newServe(), newGateway(), newWorker(), newConfig(), newStatus(),
		newImport(), newRecord(), logcmd.New(), logcmd.NewDLQ(), auditcmd.New(),
		newStats(), newTop(), newExplain(), newScore(),
		newRules(), newGenerations(), newRebuild(), newVerify(), newActivate(), newRollback(), newDrop(),
		newBackup(), newRestore(), newSeal(), credscmd.New(),
		logincmd.NewLogin(), logincmd.NewLogout(), logincmd.NewProfiles(),
		health.New(), about.NewManual(), about.NewVersion(),
		keyscmd.New(), auditlogcmd.New(),
	)
	root.AddCommand(formerCommands()...)
	eachCommand(root, func(c *cobra.Command) {
		auditlogcmd.Watch(c)
		c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage.Wrap(flagError(err)) })
		if c.HasSubCommands() && c.RunE == nil {
			c.Args, c.RunE = noSuchCommand, func(c *cobra.Command, _ []string) error { return c.Help() }
		}
		if check := c.Args; check != nil {
			c.Args = func(c *cobra.Command, args []string) error {
				if err := check(c, args); err != nil {
					return usage.Wrap(err)
				}
				return nil
			}
		}
	})
	return root
}

// readsNoSettings reports whether a command is the same whatever the environment has.
func readsNoSettings(c *cobra.Command) bool {
	for ; c.HasParent(); c = c.Parent() {
		switch c.Name() {
		case "version", "man", "completion":
			return true
		}
	}
	return false
}

// flagError puts into words what is wrong with a flag's number.
func flagError(err error) error {
	var flag *pflag.InvalidValueError
	var number *strconv.NumError
	if !errors.As(err, &flag) || !errors.As(err, &number) {
		return err
	}
	what := "is not a whole number"
	switch kind := flag.GetFlag().Value.Type(); {
	case strings.HasPrefix(kind, "float"):
		what = "is not a number"
	case errors.Is(number, strconv.ErrRange):
		what = "is too large"
		if strings.HasPrefix(number.Num, "-") {
			what = "is too small"
		}
	case strings.HasPrefix(kind, "uint"):
		what = "is not a whole number of 0 or more"
	}
	return fmt.Errorf("--%s %q %s", flag.GetFlag().Name, flag.GetValue(), what)
}

func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%q is not a command of '%s'", args[0], c.CommandPath())
}

func eachCommand(c *cobra.Command, fn func(*cobra.Command)) {
	fn(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, fn)
	}
}

// formerCommands returns the commands of the Python service. They start nothing: each
// names the command to call instead, so that a unit file or a container that still
// calls one fails with the answer.
func formerCommands() []*cobra.Command {
	var commands []*cobra.Command
	for _, former := range []struct{ name, instead string }{
		{"grpc", "'holdmetrics gateway' (gRPC and HTTP, on a NATS cluster) or 'holdmetrics serve' (all in one process)"},
		{"http", "'holdmetrics gateway' (gRPC and HTTP, on a NATS cluster) or 'holdmetrics serve' (all in one process)"},
		{"all", "'holdmetrics serve' (all in one process), or 'holdmetrics gateway' and 'holdmetrics worker' on a NATS cluster"},
	} {
		commands = append(commands, &cobra.Command{
			Use:    former.name,
			Short:  "A command of the Python service; it starts nothing",
			Long:   "A command of the Python service. It starts nothing here.\nCall " + former.instead + " instead.",
			Hidden: true,
			Args:   cobra.ArbitraryArgs,
			// Flags of the Python service reach the answer too.
			FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
			RunE: func(*cobra.Command, []string) error {
				return usage.Errorf("%s is a command of the Python service: call %s", former.name, former.instead)
			},
		})
	}
	return commands
}

// version is that of the module, or the commit that it was built from.
func version() string { return about.Current().Version }
