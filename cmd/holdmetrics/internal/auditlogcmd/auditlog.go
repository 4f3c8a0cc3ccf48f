// Package auditlogcmd holds the command audit-log, and has the commands of operators write
// what they do into the audit log.
package auditlogcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/gateway/auth/auditlog"
)

// query selects entries.
type query struct {
	from, to                     time.Time
	kind, who, what, at, outcome string
	limit                        int
	follow, asJSON               bool
}

// New returns the command audit-log.
func New() *cobra.Command {
	var q query
	var from, to string
	c := &cobra.Command{
		Use:   "audit-log",
		Short: "Show who did what, and who was refused",
		Long: `Audit-log shows the acts of operators and the requests that were refused, the oldest
first. Refusals that are alike are one entry with their count: count says how many there
were since the time of the first, which JSON has as since.

It is read from NATS, where serve listens as well. Entries are kept for 400 days, and at
most 100,000 of each kind.`,
		Example: `  holdmetrics audit-log --kind act
  holdmetrics audit-log --kind refusal --from 24h --json
  holdmetrics audit-log --follow`,
		Args: cobra.NoArgs,
	}
	connect.NATSFlags(c)
	f := c.Flags()
	f.StringVar(&from, "from", "", "begin here: RFC 3339, or so long ago, such as 24h")
	f.StringVar(&to, "to", "", "end here: RFC 3339, or so long ago")
	f.StringVar(&q.kind, "kind", "", "of this `kind` alone: act or refusal")
	f.StringVar(&q.who, "who", "", "with this `text` in who")
	f.StringVar(&q.at, "address", "", "with this `text` in from")
	f.StringVar(&q.what, "what", "", "with this `text` in what")
	f.StringVar(&q.outcome, "outcome", "", "with this `outcome`: done, failed, or the reason of a refusal")
	f.IntVar(&q.limit, "limit", 0, "print the first `N` entries at most (default: all)")
	f.BoolVar(&q.follow, "follow", false, "go on with what comes, until Ctrl-C")
	f.BoolVar(&q.asJSON, "json", false, "print an object a line")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		now := time.Now()
		if q.from, err = instantOf("from", from, now); err == nil {
			q.to, err = instantOf("to", to, now)
		}
		if err != nil {
			return err
		}
		if q.kind != "" && q.kind != string(auditlog.Act) && q.kind != string(auditlog.Refusal) {
			return usage.Errorf("--kind %q is neither act nor refusal", q.kind)
		}
		return connect.WithNATS(c, func(ctx context.Context, js jetstream.JetStream) error { return q.run(ctx, c, js) })
	}
	return c
}

// instantOf reads a time, or how long ago it is.
func instantOf(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := settings.ParseDuration(text); err == nil {
		return now.Add(-time.Duration(ago)), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usage.Errorf("--%s %q is neither RFC 3339 nor how long ago, such as 24h", flag, text)
	}
	return at, nil
}

// wants reports whether an entry is selected.
func (q *query) wants(e *auditlog.Entry) bool {
	return (q.kind == "" || q.kind == string(e.Kind)) && strings.Contains(e.Who, q.who) && strings.Contains(e.From, q.at) &&
		strings.Contains(e.What, q.what) && (q.outcome == "" || q.outcome == e.Outcome) && (q.to.IsZero() || !e.At.After(q.to))
}

func (q *query) run(ctx context.Context, c *cobra.Command, js jetstream.JetStream) error {
	// Lines and not a table, since entries come one by one.
	out, errs := printing.SafeText(c.OutOrStdout()), printing.SafeText(c.ErrOrStderr())
	lines, shown := json.NewEncoder(c.OutOrStdout()), 0
	for e, err := range auditlog.Read(ctx, js, q.from, q.follow) {
		switch {
		case err != nil && e.Sequence != 0: // this one alone
			fmt.Fprintln(errs, err)
			continue
		case errors.Is(err, context.Canceled) && q.follow:
			return nil
		case err != nil:
			return printing.Interrupted(err)
		case !q.wants(&e):
			continue
		}
		var failed error
		if q.asJSON {
			failed = lines.Encode(e)
		} else {
			_, failed = fmt.Fprintln(out, text(&e))
		}
		if failed != nil {
			return failed
		}
		if shown++; shown == q.limit {
			return nil
		}
	}
	return nil
}

// text is an entry as a line.
func text(e *auditlog.Entry) string {
	parts := []string{e.At.UTC().Format(time.RFC3339), string(e.Kind), e.Outcome, e.Who}
	if e.From != "" {
		parts = append(parts, "from "+e.From)
	}
	parts = append(parts, e.What)
	line := strings.Join(parts, "  ")
	if e.Count > 1 {
		line += "  x" + strconv.FormatUint(e.Count, 10)
	}
	if e.Detail != "" {
		line += "  (" + e.Detail + ")"
	}
	return line
}
