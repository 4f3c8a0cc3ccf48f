// Package logincmd has the commands that keep how servers are called: login, logout and
// profiles.
package logincmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	holdpb "holdmetrics/proto"
)

// askWithin is how long the server may take to answer a login.
const askWithin = 15 * time.Second

// NewLogin returns the command login.
func NewLogin() *cobra.Command {
	var noToken, unchecked bool
	c := &cobra.Command{
		Use:   "login",
		Short: "Keep a server's address, certificates and key",
		Long: `Login keeps how a server is called, in a file that only this user may read. The
other commands call it so from then on. The key or token is read from the terminal
without being shown, or from standard input, and never from the command line. With
--profile there may be several, which the other commands choose by --profile too.

The server is asked first: what it does not know is not kept.`,
		Example: `  holdmetrics login --server hold.example.com:60051 --tls-ca ca.pem
  holdmetrics login --profile staging --server 10.0.0.7:60051 --token-file key.txt
  pass show hold | holdmetrics login --server hold.example.com:60051`,
		Args: cobra.NoArgs,
	}
	server := connect.ServerFlags(c)
	c.Flags().BoolVar(&noToken, "no-token", false, "keep no key or token, and ask for none")
	c.Flags().BoolVar(&unchecked, "unchecked", false, "keep it without asking the server")
	c.RunE = func(c *cobra.Command, _ []string) error {
		kept, err := connect.ReadProfiles(c)
		if err != nil {
			return err
		}
		name := server.Name()
		if err := checkName(name); err != nil {
			return err
		}
		p, err := server.Given()
		if err != nil {
			return err
		}
		if noToken && p.Token != "" {
			return usage.Errorf("--no-token is given, and a token too: leave out one of them")
		}
		if p.Token == "" && !noToken {
			if p.Token, err = readToken(c); err != nil {
				return err
			}
		}
		if err := absolute(&p.CA, &p.Cert, &p.Key); err != nil {
			return err
		}
		if !unchecked {
			if err := check(c.Context(), p); err != nil {
				return err
			}
		}
		kept.Profiles[name] = *p
		if err := kept.Save(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(printing.SafeText(c.OutOrStdout()), "profile %s calls %s, %s, %s; it is kept in %s\n", name, p.Server, transport(p), tokenOf(p), kept.Path())
		return err
	}
	return c
}

// NewLogout returns the command logout.
func NewLogout() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "logout",
		Short: "Forget what login has kept",
		Long: `Logout removes a profile from this machine: the default one, or that of --profile.
The key stays in force on the server; 'holdmetrics keys revoke' ends it there.`,
		Example: `  holdmetrics logout
  holdmetrics logout --profile staging`,
		Args: cobra.NoArgs,
	}
	server := connect.ProfileFlag(c)
	c.Flags().BoolVar(&all, "all", false, "forget all profiles")
	c.RunE = func(c *cobra.Command, _ []string) error {
		kept, err := connect.ReadProfiles(c)
		if err != nil {
			return err
		}
		what := "all profiles are"
		if all {
			clear(kept.Profiles)
		} else {
			name := server.Name()
			if _, known := kept.Profiles[name]; !known {
				return usage.Errorf("there is no profile %q in %s: 'holdmetrics profiles' lists them", name, kept.Path())
			}
			delete(kept.Profiles, name)
			what = "profile " + name + " is"
		}
		if err := kept.Save(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(printing.SafeText(c.OutOrStdout()), "%s forgotten\n", what)
		return err
	}
	return c
}

// NewProfiles returns the command profiles.
func NewProfiles() *cobra.Command {
	return &cobra.Command{
		Use:   "profiles",
		Short: "List what login has kept, without the keys",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			kept, err := connect.ReadProfiles(c)
			if err != nil {
				return err
			}
			out := tabwriter.NewWriter(printing.SafeText(c.OutOrStdout()), 0, 0, 2, ' ', 0)
			fmt.Fprintln(out, "profile\tserver\ttransport\ttoken")
			for _, name := range slices.Sorted(maps.Keys(kept.Profiles)) {
				p := kept.Profiles[name]
				fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", name, p.Server, transport(&p), tokenOf(&p))
			}
			return out.Flush()
		},
	}
}

// transport returns in words how a server is reached.
func transport(p *connect.Profile) string {
	switch {
	case !p.HasTLS():
		return "without TLS"
	case p.Cert != "":
		return "with mutual TLS"
	}
	return "with TLS"
}

// tokenOf returns in words whether there is a token. It shows no part of it.
func tokenOf(p *connect.Profile) string {
	if p.Token == "" {
		return "no token"
	}
	return "a token"
}

// checkName returns an error unless a name can be that of a profile.
func checkName(name string) error {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return usage.Errorf("--%s %q is no name of letters, digits, '-', '_' and '.'", connect.FlagProfile, name)
		}
	}
	return nil
}

// absolute makes the paths absolute: commands run in other directories too.
func absolute(paths ...*string) error {
	for _, p := range paths {
		if *p == "" {
			continue
		}
		full, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = full
	}
	return nil
}

// readToken reads a token from the terminal, without showing it, or from the input.
func readToken(c *cobra.Command) (string, error) {
	in := c.InOrStdin()
	var text []byte
	var err error
	if printing.IsTerminal(in) {
		fmt.Fprint(c.ErrOrStderr(), "Key or token (Enter for none): ")
		text, err = term.ReadPassword(int(in.(*os.File).Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		if err == nil && len(text) == 0 {
			return "", nil
		}
	} else {
		text, err = io.ReadAll(io.LimitReader(in, 1<<20))
		if err == nil && len(text) == 0 {
			return "", usage.Errorf("there is no token in the standard input: give --token-file, or --no-token")
		}
	}
	if err != nil {
		return "", fmt.Errorf("the token cannot be read: %w", err)
	}
	token, err := connect.CheckToken(string(text))
	if err != nil {
		return "", usage.Errorf("the standard input: %w", err)
	}
	return token, nil
}

// check asks the server whether it takes the calls of a profile. That the token is not
// enough for this call is no error: it may be enough for others.
func check(ctx context.Context, p *connect.Profile) error {
	server := connect.Of(p)
	conn, err := server.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	_, err = holdpb.NewHoldMetricsQueryClient(conn).Status(ctx, &holdpb.Empty{})
	switch status.Code(err) {
	case codes.OK, codes.PermissionDenied:
		return nil
	case codes.DeadlineExceeded:
		err = fmt.Errorf("the server at %s did not answer within %v", p.Server, askWithin)
	default:
		err = server.Error(err)
	}
	return errors.Join(err, errors.New("nothing is kept; --unchecked keeps it all the same"))
}
