package auditcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/proof"
	"holdmetrics/internal/backoff"
	"holdmetrics/internal/wholefile"
	holdpb "holdmetrics/proto"
)

// leastEvery is the shortest pause between two looks of a witness.
const leastEvery = time.Second

func newWitness() *cobra.Command {
	var state string
	var first bool
	var every time.Duration
	c := &cobra.Command{
		Use:   "witness",
		Short: "Check that the log was only appended to",
		Long: `Witness asks the server for its latest checkpoint, and for the proof that it begins
with all of the one that the witness remembers in the file of --state. It ends with 1
if the log was rolled back, rewritten or made again, if the signature is not of the key,
or if the state file is gone; then the file stays as it is. The first run needs --first.
Run it from a machine that the operator of the server does not rule, before each payout
or with --every.`,
		Example: `  holdmetrics audit witness --public-key signing.pub --state witness.json --first
  holdmetrics audit witness --public-key signing.pub --state witness.json --every 1m`,
		Args: cobra.NoArgs,
	}
	server := connect.ServerFlags(c)
	key := keyFlag(c)
	c.Flags().StringVar(&state, "state", "", "`file` that remembers the latest checkpoint (required)")
	c.Flags().BoolVar(&first, "first", false, "make the state file: there was no run before")
	c.Flags().DurationVar(&every, "every", 0, "look again after this `time`, until interrupted (default: once)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if state == "" {
			return usage.Errorf("--state is required: name the file that remembers the latest checkpoint")
		}
		if every != 0 && every < leastEvery {
			return usage.Errorf("--every %v is shorter than %v", every, leastEvery)
		}
		verifier, err := readVerifier(*key)
		if err != nil {
			return err
		}
		w := proof.Witness{Key: verifier}
		if w.Seen, err = readState(state, first); err != nil {
			return err
		}
		conn, err := server.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		client := holdpb.NewHoldMetricsQueryClient(conn)
		for {
			if err := look(c, client, server, &w, state); err != nil {
				if every == 0 || !errors.Is(err, connect.ErrDisconnected) {
					return err
				}
				fmt.Fprintln(c.ErrOrStderr(), err)
			}
			if every == 0 {
				return nil
			}
			if backoff.Wait(c.Context(), every) != nil {
				return nil
			}
		}
	}
	return c
}

// look checks the latest checkpoint, and remembers it.
func look(c *cobra.Command, client holdpb.HoldMetricsQueryClient, server *connect.Server, w *proof.Witness, state string) error {
	before := w.Seen
	answer, err := client.GetCheckpoint(c.Context(), &holdpb.Empty{})
	if err != nil {
		return server.Error(err)
	}
	now, err := w.Take(answer.GetNote(), func(from, to uint64) ([]proof.Hash, error) {
		return compare(c.Context(), client, server, from, to)
	})
	if err != nil {
		return err
	}
	if w.Seen != before {
		if err := writeState(state, w.Seen); err != nil {
			return err
		}
	}
	if before == "" {
		_, err = fmt.Fprintf(c.OutOrStdout(), "remembered: log %s, %d positions\n", now.LogID, now.Size)
		return err
	}
	old, err := proof.OpenCheckpoint(before, w.Key)
	if err == nil {
		_, err = fmt.Fprintf(c.OutOrStdout(), "consistent: log %s was only appended to, from %d to %d positions\n", now.LogID, old.Size, now.Size)
	}
	return err
}

func compare(ctx context.Context, client holdpb.HoldMetricsQueryClient, server *connect.Server, from, to uint64) ([]proof.Hash, error) {
	answer, err := client.Compare(ctx, &holdpb.ConsistencyRequest{From: from, To: to})
	if err != nil {
		return nil, server.Error(err)
	}
	path := make([]proof.Hash, len(answer.GetPath()))
	for i, h := range answer.GetPath() {
		if len(h) != proof.HashSize {
			return nil, fmt.Errorf("%w: a hash of the path has %d bytes", proof.ErrNotProved, len(h))
		}
		copy(path[i][:], h)
	}
	return path, nil
}

// stored is the state file.
type stored struct {
	Version    int    `json:"holdmetrics_witness"`
	Checkpoint string `json:"checkpoint"`
}

func readState(path string, first bool) (string, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && first:
		return "", nil
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("%s does not exist, so nothing is known of earlier checkpoints: put it back, or pass --first if there was no run before", path)
	case err != nil:
		return "", err
	case first:
		return "", fmt.Errorf("%s exists: leave out --first, which is for the first run", path)
	}
	var s stored
	if err := json.Unmarshal(text, &s); err != nil || s.Version != 1 || s.Checkpoint == "" {
		return "", fmt.Errorf("%s is not the state of a witness, or is damaged: put it back from a backup", path)
	}
	return s.Checkpoint, nil
}

// writeState replaces the state file at once, so that a crash leaves the old one or the
// new one.
func writeState(path, checkpoint string) error {
	text, err := json.Marshal(stored{Version: 1, Checkpoint: checkpoint})
	if err != nil {
		return err
	}
	return wholefile.Replace(path, append(text, '\n'))
}
