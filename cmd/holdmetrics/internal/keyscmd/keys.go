// Package keyscmd holds the command keys, which creates, lists and revokes API keys.
package keyscmd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/auth/keys"
)

// New returns the command keys.
func New() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "Create, list and revoke API keys",
		Long: `Keys are what clients show to servers that run with --auth on, as the header
'Authorization: Bearer KEY'. A key has scopes: write (send events), read (read figures),
admin (read the metrics). No scope includes another one.

The keys are in NATS, without their secrets; serve listens there too. A change is in
force at all servers within a second.`,
	}
	connect.NATSFlags(c)
	c.AddCommand(newCreate(), newList(), newRevoke())
	return c
}

// withKeys connects for as long as f takes.
func withKeys(c *cobra.Command, f func(ctx context.Context, s *keys.Store) error) error {
	return connect.WithNATS(c, func(ctx context.Context, js jetstream.JetStream) error {
		s, err := keys.Find(ctx, js)
		if err != nil {
			return printing.Interrupted(err)
		}
		return printing.Interrupted(f(ctx, s))
	})
}

func newCreate() *cobra.Command {
	var (
		spec          keys.Spec
		scopes        []string
		expires       string
		bytesASecond  settings.Size
		asJSON        bool
		tokens, names []string
	)
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a key, and show it once",
		Long: `Create makes a key and prints it. It is not kept anywhere: who loses it makes another
one.

With --tokens or --holders the key sees and sends nothing else. In a pattern * is any
text; a backslash takes the next character as it is. A key of some tokens reads what
is asked by one of them, and no sums over tokens. A key of some holders reads what is
asked by their names, and nothing that compares holders.

Quotas are for each server. A refusal says when to come back.`,
		Example: `  holdmetrics keys create shop --scopes write --tokens 'game-*' --expires 90d
  holdmetrics keys create dashboard --scopes read
  holdmetrics keys create bot --scopes write --events-per-second 100 --json`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	f.StringSliceVar(&scopes, "scopes", nil, "what the key may do: write, read, admin; several with commas")
	f.StringArrayVar(&tokens, "tokens", nil, "token `id` or pattern that it is narrowed to; may be repeated (default: all)")
	f.StringArrayVar(&names, "holders", nil, "holder `id` or pattern that it is narrowed to; may be repeated (default: all)")
	f.StringVar(&expires, "expires", "", "when it expires: RFC 3339, or a time from now such as 90d (default: never)")
	f.Float64Var(&spec.Quotas.Events, "events-per-second", 0, "events that it may send a second (default: no limit)")
	f.Var(&bytesASecond, "bytes-per-second", "`bytes` of events that it may send a second, such as 1MiB (default: no limit)")
	f.IntVar(&spec.Quotas.Streams, "streams", 0, "streams that it may have open at once (default: no limit)")
	f.IntVar(&spec.Quotas.Watches, "watches", 0, "watches that it may have open at once (default: no limit)")
	f.BoolVar(&asJSON, "json", false, "print an object")
	c.RunE = func(c *cobra.Command, args []string) error {
		now := time.Now()
		var err error
		if len(scopes) == 0 {
			return usage.Errorf("name what the key may do: --scopes write, read or admin")
		}
		if spec.Scopes, err = auth.ParseScopes(scopes); err != nil {
			return usage.Errorf("--scopes: %w", err)
		}
		if spec.Expires, err = expiry(expires, now); err != nil {
			return err
		}
		spec.Name, spec.Tokens, spec.Holders, spec.By = args[0], tokens, names, Operator()
		spec.Quotas.Bytes = float64(bytesASecond)
		key, record, err := keys.Make(rand.Reader, spec, now)
		if errors.Is(err, keys.ErrSpec) {
			return usage.Wrap(err)
		}
		if err != nil {
			return err
		}
		return withKeys(c, func(ctx context.Context, s *keys.Store) error {
			if err := s.Create(ctx, record); err != nil {
				return err
			}
			return show(c, key, &record, asJSON)
		})
	}
	return c
}

// expiry reads --expires.
func expiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, int(n)), nil
		}
	}
	if d, err := settings.ParseDuration(text); err == nil {
		return now.Add(time.Duration(d)), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usage.Errorf("--expires %q is neither RFC 3339 nor a time from now such as 90d or 12h", text)
	}
	return at, nil
}

// Operator names who runs the command: the user of this machine.
func Operator() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// row is a key as list and create print it.
type row struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	State   string      `json:"state,omitempty"`
	Scopes  []string    `json:"scopes"`
	Tokens  *[]string   `json:"tokens,omitempty"`
	Holders *[]string   `json:"holders,omitempty"`
	Quotas  auth.Quotas `json:"quotas,omitzero"`
	Created *time.Time  `json:"created,omitempty"`
	By      string      `json:"by,omitempty"`
	Expires *time.Time  `json:"expires,omitempty"`
	Revoked *time.Time  `json:"revoked,omitempty"`
	Used    *time.Time  `json:"used,omitempty"`
	Error   string      `json:"error,omitempty"`
	Key     string      `json:"key,omitempty"`
}

func rowOf(r *keys.Record) row {
	out := row{ID: r.ID, Name: r.Name, Scopes: r.Scopes, Tokens: r.Tokens, Holders: r.Holders, Quotas: r.Quotas, By: r.By, Expires: r.Expires, Revoked: r.Revoked}
	if !r.Created.IsZero() {
		out.Created = &r.Created
	}
	return out
}

// narrowing shows ids and patterns.
func narrowing(texts *[]string) string {
	switch {
	case texts == nil:
		return "all"
	case len(*texts) == 0:
		return "none"
	}
	return strings.Join(*texts, " ")
}

// instant shows a time.
func instant(at *time.Time, none string) string {
	if at == nil || at.IsZero() {
		return none
	}
	return at.UTC().Format(time.RFC3339)
}

// quotasText shows quotas.
func quotasText(q auth.Quotas) string {
	var parts []string
	for _, p := range []struct {
		value float64
		unit  string
	}{{q.Events, "events/s"}, {q.Bytes, "bytes/s"}, {float64(q.Streams), "streams"}, {float64(q.Watches), "watches"}} {
		if p.value != 0 {
			parts = append(parts, strconv.FormatFloat(p.value, 'f', -1, 64)+" "+p.unit)
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// show prints a key that was made.
func show(c *cobra.Command, key string, r *keys.Record, asJSON bool) error {
	if asJSON {
		out := rowOf(r)
		out.Key = key
		return json.NewEncoder(c.OutOrStdout()).Encode(out)
	}
	w := tabwriter.NewWriter(printing.SafeText(c.OutOrStdout()), 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "id\t%s\nname\t%s\nscopes\t%s\ntokens\t%s\nholders\t%s\nquotas\t%s\nexpires\t%s\nkey\t%s\n",
		r.ID, r.Name, strings.Join(r.Scopes, ","), narrowing(r.Tokens), narrowing(r.Holders), quotasText(r.Quotas), instant(r.Expires, "never"), key)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(c.ErrOrStderr(), "The key is not shown again.\n")
	return err
}

func newList() *cobra.Command {
	var all, asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the keys",
		Long: `List shows the keys that are in use, and with --all those that have expired or were
revoked. used is when a server saw the key last, to a minute.

A record that is damaged is listed with the reason. Its key is refused; 'holdmetrics
keys revoke ID' removes it.`,
		Args: cobra.NoArgs,
	}
	c.Flags().BoolVar(&all, "all", false, "also those that have expired or were revoked")
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return withKeys(c, func(ctx context.Context, s *keys.Store) error {
			entries, err := s.List(ctx)
			if err != nil {
				return err
			}
			return list(c, entries, all, asJSON, time.Now())
		})
	}
	return c
}

func list(c *cobra.Command, entries []keys.Entry, all, asJSON bool, now time.Time) error {
	lines := json.NewEncoder(c.OutOrStdout())
	w := tabwriter.NewWriter(printing.SafeText(c.OutOrStdout()), 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprint(w, "id\tname\tstate\tscopes\ttokens\tholders\tquotas\tcreated\texpires\tused\n")
	}
	for i := range entries {
		e := &entries[i]
		state := e.State(now)
		if !all && (state == "revoked" || state == "expired") {
			continue
		}
		if asJSON {
			out := rowOf(&e.Record)
			if out.State = state; !e.Used.IsZero() {
				out.Used = &e.Used
			}
			if e.Err != nil {
				out.Error = e.Err.Error()
			}
			if err := lines.Encode(out); err != nil {
				return err
			}
			continue
		}
		if e.Err != nil {
			fmt.Fprintf(w, "%s\t\t%s\n", e.ID, state)
			fmt.Fprintf(printing.SafeText(c.ErrOrStderr()), "key %s: %s\n", e.ID, strings.ReplaceAll(e.Err.Error(), "\n", "; "))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, printing.Cut(e.Name, printing.ShownID), state, strings.Join(e.Scopes, ","),
			printing.Cut(narrowing(e.Tokens), printing.ShownID), printing.Cut(narrowing(e.Holders), printing.ShownID),
			quotasText(e.Quotas), instant(&e.Created, ""), instant(e.Expires, "never"), instant(&e.Used, "never"))
	}
	return w.Flush()
}

func newRevoke() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "revoke ID|NAME",
		Short: "Revoke a key for ever",
		Long: `Revoke takes a key out of use at all servers within a second: they refuse its
requests, and end the streams that are open. It cannot be taken back.`,
		Example: `  holdmetrics keys revoke shop`,
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print an object")
	c.RunE = func(c *cobra.Command, args []string) error {
		return withKeys(c, func(ctx context.Context, s *keys.Store) error {
			r, err := s.Revoke(ctx, args[0], time.Now())
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(rowOf(&r))
			}
			_, err = fmt.Fprintf(printing.SafeText(c.OutOrStdout()), "revoked key %s %s\n", r.ID, r.Name)
			return err
		})
	}
	return c
}
