package connect

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest"
)

// NATSFlags gives a command, and those below it, the flag that says where NATS is.
func NATSFlags(c *cobra.Command) {
	c.PersistentFlags().String(settings.KeyNATSURL, "", "`URL` of the NATS servers, serve among them; several with commas (NATS_URL; default "+defaultNATSURL+")")
}

// WithNATS connects for as long as f takes. A server that is not there is said at once.
func WithNATS(c *cobra.Command, f func(ctx context.Context, js jetstream.JetStream) error) error {
	flag, err := c.Flags().GetString(settings.KeyNATSURL)
	if err != nil {
		return err
	}
	url, err := NATSURL(c, flag)
	if err != nil {
		return err
	}
	closed := make(chan struct{})
	conn, err := nats.Connect(url,
		nats.Name("holdmetrics "+c.Name()),
		nats.MaxReconnects(-1),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // every call says what came of it
	)
	if errors.Is(err, nats.ErrNoServers) {
		return fmt.Errorf("no connection to NATS at %s; serve prints its address, others are named with --%s (%w)", settings.Mask(url), settings.KeyNATSURL, err)
	}
	if err != nil {
		return fmt.Errorf("connecting to NATS at %s: %w", settings.Mask(url), settings.InnerError(err))
	}
	defer func() {
		conn.Close()
		<-closed
	}()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	return f(c.Context(), js)
}

// WithLog is withNATS for what needs the event log that is there.
func WithLog(c *cobra.Command, f func(ctx context.Context, log *ingest.Log) error) error {
	return WithNATS(c, func(ctx context.Context, js jetstream.JetStream) error {
		log, err := ingest.FindLog(ctx, js)
		if err != nil {
			return err
		}
		return f(ctx, log)
	})
}

// NATSFlag is the flag that says where NATS is; natsURLOf is what it comes to.
func NATSFlag(c *cobra.Command) *string {
	return c.Flags().String(settings.KeyNATSURL, "", "`URL` of the NATS servers, or of serve; several with commas (NATS_URL; default "+defaultNATSURL+")")
}

const defaultNATSURL = "nats://127.0.0.1:4222"

// NATSURL returns the servers of a flag, of NATS_URL, or the default, as they are dialled.
func NATSURL(c *cobra.Command, flag string) (string, error) {
	if flag == "" {
		flag = settings.EnvironmentOf(c)("NATS_URL")
	}
	if flag == "" {
		flag = defaultNATSURL
	}
	servers, err := settings.NATSServers(flag)
	if err != nil {
		return "", usage.Errorf("%s: %w", settings.Describe(settings.KeyNATSURL), err)
	}
	return servers, nil
}
