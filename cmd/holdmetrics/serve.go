package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/app"
	"holdmetrics/cmd/holdmetrics/internal/logging"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/telemetry"
	"holdmetrics/cmd/holdmetrics/internal/usage"
)

func newServe() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run everything in one process",
		Long: `Serve runs the gRPC and HTTP servers, the event log (an embedded NATS server), the
processor and the store in one process, and keeps all data in one directory.
Acknowledged events are on disk. Ctrl-C stops it; the next start continues from
there.

Every setting is a flag, an environment variable and a line of a YAML file, in
this order of precedence. 'holdmetrics config serve' shows what is in force.`,
		Example: `  holdmetrics serve
  holdmetrics serve --data-dir /var/lib/holdmetrics --policy sum
  GRPC_ADDRESS=127.0.0.1:0 HTTP_PORT=0 holdmetrics serve --nats-address 127.0.0.1:0`,
		Args: cobra.NoArgs,
	}
	settings.ServeFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := settings.Read(c)
		if err != nil {
			return err
		}
		settings.WarnUnused(c.ErrOrStderr(), "serve", settings.EnvironmentOf(c))
		return runProcess(c, s, func(tell app.Instruments) program { return app.NewServer(s, version(), tell) })
	}
	return c
}

// program is a process that serve, gateway or worker runs.
type program interface {
	Start(context.Context) error
	Banner() string
	Fields() []zap.Field // what Banner says, for the log
	Failed() <-chan struct{}
	Stop() error
}

// runProcess makes the program of a command, with its log, and runs it until the command
// is interrupted.
func runProcess(c *cobra.Command, s *settings.Settings, create func(app.Instruments) program) error {
	hide := settings.SecretsOf(c)
	host, _ := os.Hostname()
	sent, err := telemetry.New(c.Context(), &s.Telemetry, telemetry.Identity{Role: c.Name(), Version: version(), Instance: uuid.NewString(), Host: host}, hide)
	if err != nil {
		return err
	}
	log, level := logging.New(hide.Writer(c.ErrOrStderr()), s.LogFormat, s.LogLevel, sent.Cores()...)
	sent.Report(log)
	stop := level.FollowSignal()
	defer stop()
	given, err := settings.Given(c)
	if err != nil {
		return err
	}
	log.Info("starting", zap.String("command", c.Name()), zap.String("version", version()), zap.Any("settings", given), zap.Strings("collectors", s.Telemetry.Collectors()))
	began := time.Now()
	err = runUntil(c.Context(), create(app.Instruments{Log: log, Level: level, Telemetry: sent}), log, c.OutOrStdout())
	if err != nil {
		log.Error("stopped after a failure", zap.Duration("ran_for", time.Since(began)), zap.Error(err))
		return err
	}
	log.Info("stopped", zap.Duration("ran_for", time.Since(began)))
	return nil
}

// runUntil starts a program, prints its banner, and runs it until ctx ends or one of
// its parts fails. Then it stops it in order.
func runUntil(ctx context.Context, p program, log *zap.Logger, out io.Writer) error {
	began := time.Now()
	if err := p.Start(ctx); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		return errors.Join(err, p.Stop())
	}
	log.Info("started", append(p.Fields(), zap.Duration("took", time.Since(began)))...)
	_, err := fmt.Fprint(out, p.Banner(), "Ctrl-C stops it.\n")
	if err == nil {
		select {
		case <-ctx.Done():
			_, _ = fmt.Fprintln(out, "stopping; Ctrl-C again to stop at once")
			log.Info("stopping")
		case <-p.Failed():
			log.Error("a part has failed; stopping")
		}
	}
	return errors.Join(err, p.Stop())
}

func newGateway() *cobra.Command {
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Run a gateway: the gRPC and HTTP servers",
		Long: `Gateway takes events into the log of a NATS cluster and answers from the
snapshots that the workers keep, and from their store. Any number of
gateways may run; all are equal.

Without MONGODB_URL it takes events and answers from snapshots. It refuses reads
that need a store (scores as of a time, by token, windows, histories).

'holdmetrics config gateway' shows the settings in force.`,
		Example: `  NATS_URL=nats://n1,nats://n2,nats://n3 MONGODB_URL=mongodb://db/ holdmetrics gateway --replicas 3`,
		Args:    cobra.NoArgs,
	}
	settings.GatewayFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := settings.Read(c)
		if err != nil {
			return err
		}
		settings.WarnUnused(c.ErrOrStderr(), "gateway", settings.EnvironmentOf(c))
		return runProcess(c, s, func(tell app.Instruments) program { return app.NewGateway(s, version(), tell) })
	}
	return c
}

func newWorker() *cobra.Command {
	c := &cobra.Command{
		Use:   "worker",
		Short: "Run a worker, which applies the log",
		Long: `Worker reads its partitions of the log. It keeps their figures in the store and
their snapshots in NATS. The workers of a log share its partitions evenly by
leases. A new worker takes over its share from the others. A stopped worker hands
over at once. A dead worker is replaced when its lease expires (--lease).

It needs a database, MONGODB_URL, which all workers and gateways share. With
--store embedded it keeps a private store in --data-dir instead, and rebuilds it
from the log whenever it acquires a partition; no gateway can read that store.

'holdmetrics config worker' shows the settings in force.`,
		Example: `  NATS_URL=nats://n1,nats://n2,nats://n3 MONGODB_URL=mongodb://db/ holdmetrics worker --replicas 3
  holdmetrics worker --store embedded --data-dir /var/lib/holdmetrics`,
		Args: cobra.NoArgs,
	}
	settings.WorkerFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := settings.Read(c)
		if err != nil {
			return err
		}
		if s.Cluster.Store == settings.StoreMongo && s.Cluster.Mongo.URL == "" {
			return usage.Errorf("a worker needs a database: set MONGODB_URL (or --%s), or ask for a store of this worker alone with --%s %s", settings.KeyMongoURL, settings.KeyStore, settings.StoreEmbedded)
		}
		settings.WarnUnused(c.ErrOrStderr(), "worker", settings.EnvironmentOf(c))
		return runProcess(c, s, func(tell app.Instruments) program { return app.NewWorker(s, version(), tell) })
	}
	return c
}
