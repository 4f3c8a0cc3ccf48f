package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/ingest"
)

// natsFlags gives a command, and those below it, the flag that says where NATS is.
func natsFlags(c *cobra.Command) {
	c.PersistentFlags().String(settings.KeyNATSURL, "", "`URL` of the NATS servers, serve among them; several with commas (NATS_URL; default "+defaultNATSURL+")")
}

// withNATS connects for as long as f takes. A server that is not there is said at once.
func withNATS(c *cobra.Command, f func(ctx context.Context, js jetstream.JetStream) error) error {
	flag, err := c.Flags().GetString(settings.KeyNATSURL)
	if err != nil {
		return err
	}
	url, err := natsURLOf(c, flag)
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

// withLog is withNATS for what needs the event log that is there.
func withLog(c *cobra.Command, f func(ctx context.Context, log *ingest.Log) error) error {
	return withNATS(c, func(ctx context.Context, js jetstream.JetStream) error {
		log, err := ingest.FindLog(ctx, js)
		if err != nil {
			return err
		}
		return f(ctx, log)
	})
}
