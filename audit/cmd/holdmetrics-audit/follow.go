package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/audit/immu"
	"holdmetrics/audit/ledger"
	"holdmetrics/audit/source"
	"holdmetrics/hold"
	"holdmetrics/processor/generation"
)

func newFollow(getenv func(string) string) *cobra.Command {
	s := settings{getenv: getenv}
	var from, every uint64
	var once bool
	c := &cobra.Command{
		Use:   "follow",
		Short: "Copy the log to immudb, and go on",
		Long: `Follow copies each message of the log to immudb: its position, its time, the SHA-256 of
its bytes and its link to the message before, each event of it as readable JSON, and
from time to time the SHA-256 over the state of a partition. Each write is verified with
immudb's proofs. What was written is not written again, and goes on where it was. An
immudb or a NATS server that is away is waited for; with --once only immudb is.

It ends with 1, and writes nothing, if immudb was rolled back or rewritten, if it has the
copy of another log, if the state file is gone, or if the log lacks what was copied.

States are kept in memory, so a start reads the log from its beginning. --states=0 goes
without them.`,
		Example: `  IMMUDB_PASSWORD_FILE=password holdmetrics-audit follow --immudb-url immudb.example.com --state audit.state`,
		Args:    cobra.NoArgs,
	}
	s.natsFlags(c)
	s.immudbFlags(c)
	s.rulesFlags(c)
	c.Flags().Uint64Var(&from, "from", 0, "begin the copy at this `position`, or fill it up from there (default: from the beginning)")
	c.Flags().Uint64Var(&every, "states", ledger.DefaultStateEvery, "`messages` of a partition between two hashes of its state; 0: none")
	c.Flags().BoolVar(&once, "once", false, "end when all that the log has is copied")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := s.immudb()
		if err != nil {
			return err
		}
		if cfg == nil {
			return errors.New("--immudb-url is required: name the immudb server, or set IMMUDB_URL")
		}
		log := newLogger(c.ErrOrStderr())
		w := waiting{log}
		if once {
			w.log = nil
		}
		err = s.connect(c.Context(), w, func(js jetstream.JetStream) error {
			return follow(c, &s, js, w, *cfg, ledger.Config{From: from, StateEvery: every, Logger: log}, once)
		})
		if !once && errors.Is(err, context.Canceled) {
			return nil // it was stopped while it waited
		}
		return err
	}
	return c
}

func follow(c *cobra.Command, s *settings, js jetstream.JetStream, w waiting, to immu.Config, cfg ledger.Config, once bool) error {
	ctx := c.Context()
	log, err := patiently(ctx, w, "the log", source.Away, func() (*source.Live, error) { return openLog(ctx, js) })
	if err != nil {
		return err
	}
	if cfg.StateEvery != 0 {
		notYet := func(err error) bool {
			return source.Away(err) || s.generation == "" && errors.Is(err, generation.ErrUnknown)
		}
		cfg.Rules, err = patiently(ctx, w, "the record of generations", notYet, func() (hold.Rules, error) {
			rules, _, err := s.rules(ctx, js)
			return rules, err
		})
		if err != nil {
			return err
		}
	}
	client, err := patiently(ctx, waiting{cfg.Logger}, "immudb", func(err error) bool { return errors.Is(err, immu.ErrAway) },
		func() (*immu.Client, error) { return immu.Open(ctx, to) })
	if err != nil {
		return err
	}
	through := uint64(0)
	cfg.Log, cfg.Copy = log, client
	cfg.Copied = func(position uint64) { through = position }
	f := ledger.NewFollower(cfg)
	if once {
		err = f.CatchUp(ctx)
	} else {
		fmt.Fprintf(c.OutOrStdout(), "copying log %s to immudb at %s, database %s\nCtrl-C stops it.\n", log.ID(), to.Address, database(to))
		err = f.Run(ctx)
	}
	if err = errors.Join(err, client.Close()); err == nil && through > 0 {
		_, err = fmt.Fprintf(c.OutOrStdout(), "copied up to position %d\n", through)
	}
	return err
}

func database(cfg immu.Config) string {
	if cfg.Database == "" {
		return immu.DefaultDatabase
	}
	return cfg.Database
}
