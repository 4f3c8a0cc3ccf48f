package auditlogcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/keyscmd"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/gateway/auth/auditlog"
)

// acts are the commands that change something for all, by their path behind the program's
// name.
var acts = []string{
	"rebuild", "activate", "rollback", "drop", "seal", "restore",
	"keys create", "keys revoke", "generations repair", "dlq retry", "dlq drop", "log repair", "log import",
}

// IsAct reports whether a command writes into the audit log what it does.
func IsAct(path string) bool { return slices.Contains(acts, path) }

// quiet are the flags that say nothing of what is done, or may have a password in them.
var quiet = []string{settings.KeyNATSURL, "yes", "wait", "no-wait", "json", "format", "server", settings.KeyDataDir, settings.KeyNATSCreds}

// writeLimit bounds the writing of an entry.
const writeLimit = 5 * time.Second

// Watch has a command write what it does into the audit log, if it is an act of an operator.
// The entry comes after the act, with its outcome. If it cannot be written, that is said,
// and the act stands.
func Watch(c *cobra.Command) {
	_, path, _ := strings.Cut(c.CommandPath(), " ")
	run := c.RunE
	if !IsAct(path) || run == nil {
		return
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		err := run(c, args)
		if errors.As(err, new(usage.Error)) || c.Flags().Changed(settings.KeyDataDir) && path == "restore" {
			return err // nothing was tried; or there is no server yet whose log it could be in
		}
		if failed := write(c, entryOf(c, path, args, err)); failed != nil && err == nil {
			fmt.Fprintf(c.ErrOrStderr(), "%s is done, but is missing in the audit log: %s\n", path, settings.SecretsOf(c).Hide(strings.ReplaceAll(failed.Error(), "\n", "; ")))
		}
		return err
	}
}

// entryOf is what a command has done.
func entryOf(c *cobra.Command, path string, args []string, err error) auditlog.Entry {
	what := append([]string{path}, args...)
	c.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains(quiet, f.Name) {
			what = append(what, "--"+f.Name+" "+f.Value.String())
		}
	})
	e := auditlog.Entry{At: time.Now().UTC(), Kind: auditlog.Act, Who: keyscmd.Operator(), What: settings.SecretsOf(c).Hide(strings.Join(what, " ")), Outcome: auditlog.Done}
	if host, err := os.Hostname(); err == nil {
		e.From = host
	}
	if err != nil {
		e.Outcome, e.Detail = auditlog.Failed, settings.SecretsOf(c).Hide(err.Error())
	}
	return e
}

// write writes an entry, however the command ended.
func write(c *cobra.Command, e auditlog.Entry) error {
	former := c.Context()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(former), writeLimit)
	defer cancel()
	c.SetContext(ctx)
	defer c.SetContext(former)
	return connect.WithNATS(c, func(ctx context.Context, js jetstream.JetStream) error {
		if err := auditlog.Open(ctx, js, 1); err != nil {
			return err
		}
		return auditlog.Write(ctx, js, e)
	})
}
