package auditcmd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/ingest"
	"holdmetrics/ingest/proof"
	holdpb "holdmetrics/proto"
)

func newProof() *cobra.Command {
	var message bool
	var size uint64
	c := &cobra.Command{
		Use:   "proof POSITION",
		Short: "Print the proof that a message is in the log",
		Long: `Proof prints, as JSON, what proves that the message at a position is in the log: the
same as GET /audit/proof. Keep it, and check it at any time with 'audit check', which
needs no server. A message may be a frame of many events, so --message shows the events
of other holders too.`,
		Example: `  holdmetrics audit proof 42 --message > proof.json
  holdmetrics audit check proof.json --public-key signing.pub`,
		Args: onePosition,
	}
	server := connect.ServerFlags(c)
	c.Flags().BoolVar(&message, "message", false, "with the bytes of the message, so that a check shows its events")
	c.Flags().Uint64Var(&size, "size", 0, "prove with the checkpoint of this many `positions` (default: the latest)")
	c.RunE = func(c *cobra.Command, args []string) error {
		position, _ := usage.PositionOf(args[0]) // onePosition has read it
		conn, err := server.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		p, err := holdpb.NewHoldMetricsQueryClient(conn).Prove(c.Context(), &holdpb.ProofRequest{Position: position, Size: size, Message: message})
		if err != nil {
			return server.Error(err)
		}
		out := json.NewEncoder(c.OutOrStdout())
		out.SetEscapeHTML(false)
		out.SetIndent("", "  ")
		return out.Encode(fileOf(p))
	}
	return c
}

func onePosition(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("name one position of the log")
	}
	if n, ok := usage.PositionOf(args[0]); !ok || n == 0 {
		return fmt.Errorf("%q is not a position: it is a number from 1 on", args[0])
	}
	return nil
}

// fileOf is a proof in the form of HTTP.
func fileOf(p *holdpb.ProofAnswer) *httpapi.ProofBody {
	path := p.GetPath()
	if path == nil {
		path = [][]byte{} // of a log of one message
	}
	body := &httpapi.ProofBody{
		Position: p.GetPosition(), Partition: int(p.GetPartition()), JSON: p.GetJson(), Lost: p.GetLost(),
		Leaf: p.GetLeaf(), Path: path, Size: p.GetCheckpoint().GetSize(), Root: p.GetCheckpoint().GetRoot(),
		Checkpoint: p.GetCheckpoint().GetNote(), PublicKey: p.GetCheckpoint().GetPublicKey(), Message: p.GetMessage(),
		MessageSHA256: hex.EncodeToString(p.GetMessageSha256()),
	}
	if p.GetTime() != nil {
		at := p.GetTime().AsTime()
		body.Time = &at
	}
	return body
}

func newCheck() *cobra.Command {
	var holder string
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a proof, with no server",
		Long: `Check reads a proof that 'audit proof' or GET /audit/proof gave ('-' is the standard
input), and checks it with the public key alone: the signature of the checkpoint, the
path from the leaf to the root, and the message, if the proof has it. It ends with 1 if
anything does not fit. With --holder the message must have an event of the holder.`,
		Example: `  holdmetrics audit check proof.json --public-key signing.pub --holder alice`,
		Args:    usage.OneFile,
	}
	key := keyFlag(c)
	c.Flags().StringVar(&holder, "holder", "", "demand an event of this `holder` in the message")
	c.RunE = func(c *cobra.Command, args []string) error {
		verifier, err := readVerifier(*key)
		if err != nil {
			return err
		}
		text, err := readFile(c, args[0])
		if err != nil {
			return err
		}
		var p httpapi.ProofBody
		if err := json.Unmarshal(text, &p); err != nil {
			return fmt.Errorf("%s is not a proof: %w", args[0], err)
		}
		l, at, err := check(&p, verifier)
		if err != nil {
			return err
		}
		return report(printing.SafeText(c.OutOrStdout()), &p, &l, &at, holder)
	}
	return c
}

func readFile(c *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(c.InOrStdin())
	}
	return os.ReadFile(name)
}

// check checks everything that a proof states.
func check(p *httpapi.ProofBody, key note.Verifier) (proof.Leaf, proof.Checkpoint, error) {
	fail := func(err error) (proof.Leaf, proof.Checkpoint, error) {
		return proof.Leaf{}, proof.Checkpoint{}, err
	}
	if p.Checkpoint == "" {
		return fail(errors.New("the proof has no checkpoint: ask for one without --size, or put in the note of that size"))
	}
	at, err := proof.OpenCheckpoint(p.Checkpoint, key)
	if err != nil {
		return fail(err)
	}
	l, err := proof.ParseLeaf(p.Leaf)
	if err != nil {
		return fail(err)
	}
	if l.Position != p.Position || l.Lost != p.Lost {
		return fail(fmt.Errorf("the proof says position %d, and its leaf position %d", p.Position, l.Position))
	}
	path := make([]proof.Hash, len(p.Path))
	for i, h := range p.Path {
		if len(h) != proof.HashSize {
			return fail(fmt.Errorf("%w: a hash of the path has %d bytes", proof.ErrNotProved, len(h)))
		}
		copy(path[i][:], h)
	}
	if err := proof.CheckInclusion(l.Hash(), l.Position, at.Size, at.Root, path); err != nil {
		return fail(err)
	}
	if p.Message != nil && sha256.Sum256(p.Message) != l.Sum {
		return fail(fmt.Errorf("%w: the message is not the one that the leaf states", proof.ErrNotProved))
	}
	return l, at, nil
}

// report prints what was proved.
func report(out io.Writer, p *httpapi.ProofBody, l *proof.Leaf, at *proof.Checkpoint, holder string) error {
	if l.Lost {
		_, err := fmt.Fprintf(out, "proved: position %d of log %s was accepted as lost, and is in the checkpoint of size %d\n", l.Position, at.LogID, at.Size)
		return err
	}
	fmt.Fprintf(out, "proved: position %d of log %s, of %s, is in the checkpoint of size %d\n",
		l.Position, at.LogID, time.Unix(0, l.Time).UTC().Format(time.RFC3339Nano), at.Size)
	if p.Message == nil {
		fmt.Fprintf(out, "its message has the SHA-256 %s\n", hex.EncodeToString(l.Sum[:]))
		if holder != "" {
			return errors.New("the proof has no message, so it does not show whose events it has: ask for it with --message")
		}
		return nil
	}
	m := ingest.Message{Position: l.Position, Partition: l.Partition, Time: l.Time, JSON: l.JSON, Data: bytes.Clone(p.Message)}
	found := holder == ""
	for e := range m.Entries() {
		if e.Err != nil {
			fmt.Fprintf(out, "  event %d cannot be read: %v\n", e.Index, e.Err)
			continue
		}
		if holder != "" && e.Draft.Holder != holder {
			continue
		}
		found = true
		fmt.Fprintf(out, "  event %s: holder %q, token %q%s\n", strconv.Itoa(e.Index), e.Draft.Holder, e.Draft.Token, words(&e))
	}
	if !found {
		return fmt.Errorf("the message has no event of holder %q", holder)
	}
	return nil
}

// words are the rest of an event.
func words(e *ingest.Entry) string {
	text := ""
	d := &e.Draft
	if d.Start.Set {
		text += ", from " + time.Unix(d.Start.Seconds, int64(d.Start.Nanos)).UTC().Format(time.RFC3339Nano)
	}
	if d.End.Set {
		text += ", until " + time.Unix(d.End.Seconds, int64(d.End.Nanos)).UTC().Format(time.RFC3339Nano)
	}
	switch {
	case d.WeightExact != "":
		text += ", weight " + d.WeightExact
	case d.WeightGiven:
		text += ", weight " + strconv.FormatFloat(d.Weight, 'g', -1, 64)
	}
	if d.HoldID != "" {
		text += fmt.Sprintf(", hold_id %q, revision %d", d.HoldID, d.Revision)
	}
	if d.Retract {
		text += ", retracted"
	}
	return text
}
