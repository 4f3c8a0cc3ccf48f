// Package auditcmd has the commands below 'holdmetrics audit': keys, checkpoints, proofs
// and the witness.
package auditcmd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/proof"
	holdpb "holdmetrics/proto"
)

// New returns the command audit.
func New() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Prove that the log was not changed",
		Long: `A server with --signing-key hashes each message of the log into a Merkle tree, and
signs the root: a checkpoint. From then on nobody changes, removes or inserts an
event without being seen. 'audit proof' proves that an event is in the log, 'audit
check' checks such a proof with no server, and 'audit witness' checks that a log was
only appended to. 'audit follow' and 'audit verify', which keep and compare a copy in
immudb, are in a program of their own: holdmetrics-audit.`,
	}
	c.AddCommand(newKeygen(), newCheckpoint(), newProof(), newCheck(), newWitness())
	for _, name := range []string{"follow", "verify"} {
		c.AddCommand(elsewhere(name))
	}
	return c
}

// elsewhere is a command of the other program.
func elsewhere(name string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Short:              "A command of the program holdmetrics-audit",
		Long:               "A command of the program holdmetrics-audit, which has what immudb needs.\nCall 'holdmetrics-audit " + name + "' instead.",
		Args:               cobra.ArbitraryArgs,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE: func(*cobra.Command, []string) error {
			return usage.Errorf("audit %s needs immudb, which this program does not have: call 'holdmetrics-audit %s', which is beside it in releases and is built with 'make audit'", name, name)
		},
	}
}

func newKeygen() *cobra.Command {
	var name, out string
	c := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key that signs checkpoints",
		Long: `Keygen makes an Ed25519 key. The secret key goes to the file of --out, which only its
owner can read: give it to the server with --signing-key. The public key is printed:
publish it, so that anyone can check what the server signs. A file that exists is not
replaced.`,
		Example: `  holdmetrics audit keygen --out signing.key --name example.com/holds > signing.pub`,
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&name, "name", "holdmetrics", "`name` that stands in each signature, such as your domain")
	c.Flags().StringVar(&out, "out", "", "`file` of the secret key (required)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if out == "" {
			return usage.Errorf("--out is required: name the file of the secret key")
		}
		secret, public, err := proof.GenerateKey(rand.Reader, name)
		if err != nil {
			return usage.Errorf("--name: %w", err)
		}
		file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s exists: name another file, or move the key away: what it has signed cannot be checked with a new one", out)
		}
		if err != nil {
			return err
		}
		_, err = file.WriteString(secret + "\n")
		if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
			return errors.Join(err, os.Remove(out))
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), public)
		return err
	}
	return c
}

// keyFlag is the flag of the public key.
func keyFlag(c *cobra.Command) *string {
	return c.Flags().String("public-key", "", "`key` that 'audit keygen' printed, or a file that has it (required)")
}

// readVerifier reads the value of keyFlag.
func readVerifier(value string) (note.Verifier, error) {
	if value == "" {
		return nil, usage.Errorf("--public-key is required: the key that the operator of the server has published")
	}
	if !strings.Contains(value, "+") {
		text, err := os.ReadFile(value)
		if err != nil {
			return nil, usage.Errorf("--public-key: %w", err)
		}
		value = string(text)
	}
	key, err := proof.ParseVerifier(value)
	if err != nil {
		return nil, usage.Errorf("--public-key: %w", err)
	}
	return key, nil
}

func newCheckpoint() *cobra.Command {
	c := &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the latest signed checkpoint",
		Long: `Checkpoint prints what the server has signed last: the log, how many positions it has,
and the root of the Merkle tree over them. With --public-key it checks the signature.`,
		Example: `  holdmetrics audit checkpoint --public-key signing.pub`,
		Args:    cobra.NoArgs,
	}
	server := connect.ServerFlags(c)
	key := keyFlag(c)
	c.Flags().Lookup("public-key").Usage = "`key` that 'audit keygen' printed, or a file that has it (default: no check)"
	c.RunE = func(c *cobra.Command, _ []string) error {
		conn, err := server.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		answer, err := holdpb.NewHoldMetricsQueryClient(conn).GetCheckpoint(c.Context(), &holdpb.Empty{})
		if err != nil {
			return server.Error(err)
		}
		if *key != "" {
			verifier, err := readVerifier(*key)
			if err != nil {
				return err
			}
			if _, err := proof.OpenCheckpoint(answer.GetNote(), verifier); err != nil {
				return err
			}
		}
		_, err = fmt.Fprint(c.OutOrStdout(), answer.GetNote())
		return err
	}
	return c
}
