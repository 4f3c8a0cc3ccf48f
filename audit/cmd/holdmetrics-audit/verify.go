package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"holdmetrics/audit/check"
	"holdmetrics/audit/immu"
	"holdmetrics/audit/scores"
	"holdmetrics/audit/source"
	"holdmetrics/ingest/archive"
	"holdmetrics/ingest/proof"
	"holdmetrics/ingest/rows"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
	"holdmetrics/projection/mongo"
)

// verification is what verify was asked for.
type verification struct {
	settings
	export, dataDir, mongoURL, mongoDB string
	checkpoint, publicKey              string
	from, to                           uint64
	holder                             string
	noScores                           bool
}

func newVerify(getenv func(string) string) *cobra.Command {
	v := verification{settings: settings{getenv: getenv}}
	c := &cobra.Command{
		Use:   "verify",
		Short: "Compare the log with everything made from it",
		Long: `Verify reads the log, or with --export the export of a log, and computes all scores
again. It compares

  - each message and event with the copy in immudb (--immudb-url), which it reads whole,
    with proofs;
  - the hashes of states in immudb with those of its own run;
  - the scores of the snapshots, and of a store: --data-dir of a serve that is stopped,
    or --mongodb-url;
  - the root of the log with a checkpoint that you have kept (--checkpoint and
    --public-key).

It names the first difference of each, at its position, and ends with 1. An export needs
nothing of holdmetrics running: 'holdmetrics log export' writes one.`,
		Example: `  holdmetrics-audit verify --immudb-url immudb.example.com --state auditor.state
  holdmetrics-audit verify --export log.ndjson.zst --checkpoint kept.note --public-key signing.pub
  holdmetrics-audit verify --data-dir data --export log.ndjson --holder alice`,
		Args: cobra.NoArgs,
	}
	v.natsFlags(c)
	v.immudbFlags(c)
	v.rulesFlags(c)
	f := c.Flags()
	f.StringVar(&v.export, "export", "", "read this export of the log, a `file`, in place of NATS")
	f.StringVar(&v.dataDir, "data-dir", "", "compare the store in the `directory` of a serve that is stopped")
	f.StringVar(&v.mongoURL, "mongodb-url", "", "compare the store at this `URL` (MONGODB_URL)")
	f.StringVar(&v.mongoDB, "mongodb-db", mongo.DefaultDatabase, "`name` of its database")
	f.StringVar(&v.checkpoint, "checkpoint", "", "compare the log with this checkpoint, a `file`")
	f.StringVar(&v.publicKey, "public-key", "", "`file` of the key that has signed the checkpoint")
	f.Uint64Var(&v.from, "from", 0, "compare messages from this `position` on")
	f.Uint64Var(&v.to, "to", 0, "compare messages up to this `position`")
	f.StringVar(&v.holder, "holder", "", "compare the events and scores of this `holder` alone")
	f.BoolVar(&v.noScores, "no-scores", false, "compare no scores and no states")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if v.to != 0 && v.to < v.from {
			return fmt.Errorf("--to %d is before --from %d", v.to, v.from)
		}
		if v.export == "" {
			return v.connect(c.Context(), waiting{}, func(js jetstream.JetStream) error {
				log, err := openLog(c.Context(), js)
				if err != nil {
					return err
				}
				return v.run(c, log, js)
			})
		}
		log, err := source.OpenExport(v.export)
		if err != nil {
			return err
		}
		return v.run(c, log, nil)
	}
	return c
}

func (v *verification) run(c *cobra.Command, log source.Log, js jetstream.JetStream) (err error) {
	ctx := c.Context()
	cfg := check.Config{Log: log, From: v.from, To: v.to, Holder: v.holder}
	var ends []io.Closer
	defer func() {
		for _, e := range ends {
			err = errors.Join(err, e.Close())
		}
	}()
	to, err := v.immudb()
	if err != nil {
		return err
	}
	if to != nil {
		client, err := immu.Open(ctx, *to)
		if err != nil {
			return err
		}
		ends = append(ends, client)
		cfg.Copy = client
	}
	if cfg.Checkpoint, err = v.readCheckpoint(); err != nil {
		return err
	}
	of := generation.First
	if !v.noScores {
		if cfg.Rules, of, err = v.rules(ctx, js); err != nil {
			return err
		}
		closers, err := v.openScores(ctx, &cfg, js, of)
		ends = append(ends, closers...)
		if err != nil {
			return err
		}
	}
	found := 0
	result, err := check.Run(ctx, cfg, func(d check.Difference) {
		found++
		fmt.Fprintln(c.OutOrStdout(), rows.Safe(d.String()))
	})
	if err != nil && found == 0 {
		return err
	}
	if found == 0 && v.export != "" {
		// What was changed may be nothing that is compared, such as a space.
		if err := archive.Verify(v.export, false, ctx.Err); errors.Is(err, archive.ErrEdited) {
			found++
			fmt.Fprintln(c.OutOrStdout(), rows.Safe(fmt.Sprintf("%s was changed after it was written: %v", v.export, err)))
		} else if err != nil {
			return err
		}
	}
	if found > 0 {
		return fmt.Errorf("%d %s found", found, map[bool]string{true: "difference was", false: "differences were"}[found == 1])
	}
	if result.Nothing() {
		return errors.New("nothing was compared: " + v.nothing(&cfg, &result))
	}
	return v.summary(c.OutOrStdout(), &cfg, &result)
}

// nothing says why nothing was compared.
func (v *verification) nothing(cfg *check.Config, r *check.Result) string {
	if cfg.Copy == nil && cfg.Checkpoint == nil && len(cfg.Scores) == 0 {
		return "name what to compare the log with: --immudb-url, --checkpoint with --public-key, --data-dir or --mongodb-url"
	}
	return fmt.Sprintf("of positions %d to %d the copy in immudb has none; it has %d to %d", r.From, r.To, r.Copied.From, r.Copied.Through)
}

func (v *verification) summary(out io.Writer, cfg *check.Config, r *check.Result) error {
	text := fmt.Sprintf("no difference: log %s, positions %d to %d", r.LogID, r.From, r.To)
	if cfg.Copy != nil {
		text += fmt.Sprintf("; %d messages with %d events as in immudb, which has positions %d to %d", r.Messages, r.Events, r.Copied.From, r.Copied.Through)
		if r.From < r.Copied.From {
			text += fmt.Sprintf("; positions %d to %d not compared: the copy begins later", r.From, min(r.Copied.From-1, r.To))
		}
		if r.To > r.Copied.Through {
			text += fmt.Sprintf("; positions %d to %d not compared: they are not copied yet", max(r.Copied.Through+1, r.From), r.To)
		}
		text += fmt.Sprintf("; %d states", r.States)
		if r.OtherStates > 0 {
			text += fmt.Sprintf(", and %d of other rules not compared", r.OtherStates)
		}
	}
	for _, s := range cfg.Scores {
		text += "; scores of " + s.Name
	}
	if len(cfg.Scores) > 0 {
		text += fmt.Sprintf(": %d holders", r.Holders)
	}
	if cfg.Checkpoint != nil {
		text += fmt.Sprintf("; checkpoint of %d positions", cfg.Checkpoint.Size)
	}
	if r.Lost > 0 {
		text += fmt.Sprintf("; %d positions were accepted as lost", r.Lost)
	}
	_, err := fmt.Fprintln(out, text)
	return err
}

func (v *verification) readCheckpoint() (*proof.Checkpoint, error) {
	if v.checkpoint == "" {
		return nil, nil
	}
	if v.publicKey == "" {
		return nil, errors.New("--checkpoint needs --public-key: the key that has signed it")
	}
	signed, err := os.ReadFile(v.checkpoint)
	if err != nil {
		return nil, err
	}
	public, err := os.ReadFile(v.publicKey)
	if err != nil {
		return nil, err
	}
	key, err := proof.ParseVerifier(string(public))
	if err != nil {
		return nil, err
	}
	c, err := proof.OpenCheckpoint(string(signed), key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.checkpoint, err)
	}
	return &c, nil
}

// openScores opens what has scores.
func (v *verification) openScores(ctx context.Context, cfg *check.Config, js jetstream.JetStream, of string) (ends []io.Closer, err error) {
	if of == "" {
		of = v.generation
	}
	if js != nil && of != "" {
		s, err := scores.FromBucket(ctx, js, of, cfg.Log.Partitions())
		if err != nil {
			return ends, err
		}
		cfg.Scores = append(cfg.Scores, s)
	}
	if of == "" {
		of = generation.First
	}
	if v.dataDir != "" {
		dir := embedded.Directory(v.dataDir, generation.Namespace(of))
		if _, err := os.Stat(dir); err != nil {
			return ends, fmt.Errorf("--data-dir %s has no store of generation %s: %w", v.dataDir, of, err)
		}
		name := "the store " + dir
		store, err := embedded.Open(dir, embedded.Options{})
		switch {
		case errors.Is(err, projection.ErrCorrupt):
			cfg.Scores = append(cfg.Scores, unreadable(name, err))
		case err != nil:
			return ends, fmt.Errorf("--data-dir: the store cannot be opened (stop the server first): %w", err)
		default:
			ends = append(ends, store)
			s, err := scores.FromStore(ctx, name, store, cfg.Rules, cfg.Log.Partitions())
			if errors.Is(err, projection.ErrCorrupt) {
				s, err = unreadable(name, err), nil
			}
			if err != nil {
				return ends, err
			}
			cfg.Scores = append(cfg.Scores, s)
		}
	}
	if address := v.or(v.mongoURL, "MONGODB_URL", "MONGODB_URI"); address != "" {
		store, err := mongo.Open(ctx, mongo.Config{URL: address, Database: v.mongoDB, Generation: generation.Namespace(of)})
		if err != nil {
			return ends, err
		}
		ends = append(ends, store)
		s, err := scores.FromStore(ctx, "the store in MongoDB", store, cfg.Rules, cfg.Log.Partitions())
		if err != nil {
			return ends, err
		}
		cfg.Scores = append(cfg.Scores, s)
	}
	return ends, nil
}

// unreadable are the scores of a store that is damaged: a difference, beside which all else is
// compared.
func unreadable(name string, err error) check.Scores {
	return check.Scores{Name: name, Each: func(context.Context, func(*check.Holder) error) error {
		return fmt.Errorf("%s: %w", name, err)
	}}
}

// newLogger writes lines of JSON with what is waited for.
func newLogger(out io.Writer) *zap.Logger {
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.TimeEncoderOfLayout(time.RFC3339)
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.AddSync(out), zapcore.InfoLevel))
}
