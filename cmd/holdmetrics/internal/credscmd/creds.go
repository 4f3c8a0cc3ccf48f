// Package credscmd has the commands for the users of the embedded NATS server.
package credscmd

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/natsaccess"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/processor/generation"
)

// New returns the command nats-creds.
func New() *cobra.Command {
	c := &cobra.Command{
		Use:   "nats-creds",
		Short: "Give and take back credentials for NATS",
		Long: `Nats-creds keeps the users of the NATS server that serve runs, in its data
directory. A server that runs takes a change over within a second.

A producer may publish events to hold.events.<holder>, and receive the answers.
A reader may read the snapshots, and what changes of them. An operator may do what
the commands do. The credentials of the server's own operator are made by serve,
in nats-users/operator.seed of the data directory.

The users of a NATS cluster are in its configuration: see deploy/nats.`,
	}
	dir := c.PersistentFlags().String(settings.KeyDataDir, "", "data `directory` of serve (DATA_DIR; default data)")
	users := func(c *cobra.Command) natsaccess.Users {
		return natsaccess.UsersOf(cmp.Or(*dir, settings.EnvironmentOf(c)("DATA_DIR"), "data"))
	}
	c.AddCommand(newCreate(users), newList(users), newRevoke(users), newGrants())
	return c
}

// usersOf returns the users that a command is about.
type usersOf func(*cobra.Command) natsaccess.Users

func newCreate(users usersOf) *cobra.Command {
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a user and a file with the credentials",
		Long: `Create makes a user of NATS, and a file with the seed of the private nkey, which
only you can read. It is kept nowhere else. Clients connect with it: 'nats --nkey
FILE', nats.NkeyOptionFromSeed in Go, NATS_CREDS of the commands.

With --nkey the user has made a pair of keys himself, and gives the public one.`,
		Example: `  holdmetrics nats-creds create shop --role producer
  holdmetrics nats-creds create board --role reader --out /run/secrets/board.seed
  holdmetrics nats-creds create shop --role producer --nkey UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4`,
		Args: oneName,
	}
	f := c.Flags()
	role := f.String("role", "", "`role` of the user: producer, reader or operator")
	out := f.String("out", "", "`file` that gets the credentials, which must not exist (default NAME.seed)")
	nkey := f.String("nkey", "", "public `nkey` of the user, who keeps the private one")
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		switch {
		case *role == "":
			return usage.Errorf("--role is not given: say what the user is there for: producer, reader or operator")
		case *nkey != "" && *out != "":
			return usage.Errorf("--out has no use with --nkey: the user has his credentials")
		}
		user := natsaccess.User{Name: args[0], Role: natsaccess.Role(*role), Nkey: *nkey}
		if *nkey != "" {
			if _, err := users(c).Create(user, time.Now()); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s is a user of NATS, a %s\n", user.Name, user.Role)
			return err
		}
		path := cmp.Or(*out, args[0]+".seed")
		if err := natsaccess.CheckUserName(user.Name); err != nil {
			return usage.Wrap(err)
		}
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		seed, err := users(c).Create(user, time.Now())
		if err != nil {
			return errors.Join(err, file.Close(), os.Remove(path))
		}
		_, err = file.Write(append(seed, '\n'))
		if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
			return errors.Join(err, users(c).Revoke(user.Name))
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is a user of NATS, a %s; the credentials are in %s\n", user.Name, user.Role, path)
		return err
	}
	return c
}

func newList(users usersOf) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the users",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, damaged := users(c).List()
			slices.SortFunc(all, func(a, b natsaccess.User) int { return cmp.Compare(a.Name, b.Name) })
			out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(out, "name\trole\tcreated\tnkey")
			for _, u := range all {
				fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", u.Name, u.Role, u.Created.Format(time.RFC3339), u.Nkey)
			}
			return errors.Join(out.Flush(), damaged)
		},
	}
}

func newRevoke(users usersOf) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Take the credentials of a user back",
		Long: `Revoke removes a user. Connections of his end within a second, and none is made
again.

To change the credentials of the server's operator, stop serve, remove
nats-users/operator.seed from the data directory, and start it.`,
		Example: `  holdmetrics nats-creds revoke shop`,
		Args:    oneName,
		RunE: func(c *cobra.Command, args []string) error {
			if err := users(c).Revoke(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s is no user of NATS any more\n", args[0])
			return err
		},
	}
}

func oneName(_ *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return errors.New("name one user")
	}
	return nil
}

func newGrants() *cobra.Command {
	c := &cobra.Command{
		Use:   "grants",
		Short: "Write the permissions for a NATS cluster",
		Long: `Grants writes what each role may do as configuration of nats-server: grants.conf of
deploy/nats, which holdmetrics.conf there includes. It is not for serve, which has
its own.`,
		Example: `  holdmetrics nats-creds grants > grants.conf
  holdmetrics nats-creds grants --generation 1 --generation doubled > grants.conf`,
		Args: cobra.NoArgs,
	}
	generations := c.Flags().StringArray("generation", nil, "generation that readers may read; may be repeated (default 1 to 9)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		for _, name := range *generations {
			if err := generation.CheckName(name); err != nil {
				return usage.Errorf("--generation: %w", err)
			}
		}
		if len(*generations) == 0 {
			*generations = natsaccess.FirstGenerations()
		}
		return natsaccess.WriteGrants(c.OutOrStdout(), *generations...)
	}
	return c
}
