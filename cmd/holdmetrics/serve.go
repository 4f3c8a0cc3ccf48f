package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/processor/generation"
)

func newServe() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run everything in one process",
		Long: `Serve runs the gRPC and HTTP doors, the event log (an embedded NATS server), the
processor and the store in one process, and keeps all of it in one directory.
What it acknowledged is on disk. Ctrl-C stops it; started again, it carries on
where it was.

Every setting is a flag, an environment variable and a line of a YAML file; they
count in this order. 'holdmetrics config serve' shows what is in force.`,
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
		settings.WarnUnused(c.ErrOrStderr(), "serve", os.Getenv)
		return serve(c.Context(), s, c.OutOrStdout(), newLogger(c.ErrOrStderr(), s.LogLevel))
	}
	return c
}

// newLogger writes lines for people.
func newLogger(out io.Writer, level zapcore.Level) *zap.Logger {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.ISO8601TimeEncoder
	config.EncodeLevel = zapcore.CapitalLevelEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(config), zapcore.Lock(zapcore.AddSync(out)), level))
}

// serve runs until ctx ends or something breaks, then stops everything in order.
func serve(ctx context.Context, s *settings.Settings, out io.Writer, log *zap.Logger) error {
	p, err := startPlant(ctx, s, log)
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	profiles := ""
	if p.pprofAddr != nil {
		profiles = fmt.Sprintf("  pprof http://%s/debug/pprof/\n", p.pprofAddr)
	}
	_, err = fmt.Fprintf(out, "holdmetrics serves %s, %s\n  gRPC  %s\n  HTTP  http://%s\n  NATS  nats://%s\n%sCtrl-C stops it.\n",
		s.DataDir, served(&p.active), shown(p.grpcAddr), shown(p.httpAddr), shown(p.broker.address()), profiles)
	if err == nil {
		select {
		case <-ctx.Done():
			_, _ = fmt.Fprintln(out, "stopping; Ctrl-C again to stop at once")
		case err = <-p.failed:
		}
	}
	return errors.Join(err, p.stop())
}

// served says in words which generation is read.
func served(g *generation.Record) string {
	text := g.Describe()
	if g.Name != generation.First {
		text += ", generation " + g.Name
	}
	return text
}

// shown is an address as a client on this machine would use it.
func shown(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d (and every other address of this machine)", tcp.Port)
	}
	return a.String()
}
