package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

const (
	// againFirst and againMost are the pauses while something that a process needs
	// at its start is not there.
	againFirst = 200 * time.Millisecond
	againMost  = 5 * time.Second
	// startRequest bounds one try of it.
	startRequest = 10 * time.Second
)

// lastingStart are the errors of a start that trying again does not heal.
var lastingStart = []error{
	ingest.ErrLogSettings, ingest.ErrLogConfig, projection.ErrForeign, projection.ErrMetaFixed, projection.ErrRefused,
	projection.ErrLocked, projection.ErrCorrupt, lease.ErrConfig, nats.ErrAuthorization, nats.ErrNoServers,
}

// patiently tries until it succeeds, fails for good, or ctx ends: what a process
// needs may start after it, and a cluster has no leader for a moment.
func patiently(ctx context.Context, log *zap.Logger, what string, f func(context.Context) error) error {
	pause := againFirst
	for failures := 0; ; failures++ {
		within, cancel := context.WithTimeout(ctx, startRequest)
		err := f(within)
		cancel()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		for _, lasting := range lastingStart {
			if errors.Is(err, lasting) && !errors.Is(err, errAway) {
				return err
			}
		}
		if errors.As(err, new(usage.Error)) {
			return err
		}
		if failures == 0 {
			log.Warn("waiting: "+what, zap.Error(err))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, againMost)
	}
}

// errAway: nobody answers at an address, which may change.
var errAway = errors.New("nobody answers")

// node is what gateway and worker have in common.
type node struct {
	settings *settings.Settings
	log      *zap.Logger
	registry *prometheus.Registry
	conn     *nats.Conn
	js       jetstream.JetStream
	events   *ingest.Log

	waits  waits          // of a start
	failed chan error     // what broke while running
	undo   []func() error // what stop does, last first
}

func newNode(s *settings.Settings, log *zap.Logger) *node {
	n := &node{settings: s, log: log, registry: prometheus.NewRegistry(), failed: make(chan error, 4)}
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return n
}

// onStop adds what stop does, before all that was added earlier.
func (n *node) onStop(undo func() error) { n.undo = append(n.undo, undo) }

// stop stops what was started, the last first.
func (n *node) stop() error {
	var errs []error
	for i := len(n.undo) - 1; i >= 0; i-- {
		errs = append(errs, n.undo[i]())
	}
	n.undo = nil
	for {
		select {
		case err := <-n.failed:
			errs = append(errs, err)
		default:
			return errors.Join(errs...)
		}
	}
}

// connect connects to NATS, for as long as the process lives: a connection that
// is lost is made again, to whichever server answers.
func (n *node) connect(ctx context.Context, name string) error {
	err := n.patiently(ctx, "the NATS servers do not answer", func(context.Context) (err error) {
		closed := make(chan struct{})
		n.conn, err = nats.Connect(n.settings.Cluster.NATSURL,
			nats.Name(name),
			nats.MaxReconnects(-1),
			nats.ReconnectWait(250*time.Millisecond),
			nats.ReconnectJitter(250*time.Millisecond, time.Second),
			nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(2), // a server that was cut off is noticed within 15 s
			nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				if err != nil {
					n.log.Warn("the connection to NATS is lost; it is made again", zap.Error(err))
				}
			}),
			nats.ReconnectHandler(func(c *nats.Conn) {
				n.log.Warn("connected to NATS again", zap.String("server", c.ConnectedServerName()))
			}),
			nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
				n.log.Debug("NATS", zap.Error(err))
			}),
		)
		switch {
		case errors.Is(err, nats.ErrNoServers):
			return fmt.Errorf("%w at %s: %w", errAway, settings.Mask(n.settings.Cluster.NATSURL), settings.InnerError(err))
		case err != nil:
			return fmt.Errorf("connecting to NATS at %s: %w", settings.Mask(n.settings.Cluster.NATSURL), settings.InnerError(err))
		}
		n.onStop(func() error {
			n.conn.Close()
			<-closed
			return nil
		})
		return nil
	})
	if err != nil {
		return err
	}
	n.js, err = jetstream.New(n.conn)
	return err
}

// openLog opens the event log, and makes it where there is none.
func (n *node) openLog(ctx context.Context) error {
	return n.patiently(ctx, "the event log cannot be opened", func(ctx context.Context) (err error) {
		n.events, err = ingest.OpenLog(ctx, n.js, ingest.LogConfig{
			Partitions: n.settings.Cluster.Partitions, Replicas: n.settings.Cluster.Replicas, Limits: n.settings.Limits,
		})
		return err
	})
}

// agreeOnLimits gives the limits by which a gateway takes events: those of the
// log. Others that were asked for become the log's only while no worker and no other
// gateway runs: a worker knows the former ones and would refuse what a door took, and
// a gateway takes by them what a worker that starts later would refuse. others are
// those that do.
func (n *node) agreeOnLimits(ctx context.Context, others []string) (hold.Limits, error) {
	var last uint64
	err := n.patiently(ctx, "the end of the log cannot be read", func(ctx context.Context) (err error) {
		last, err = n.events.LastPosition(ctx)
		return err
	})
	if err != nil {
		return hold.Limits{}, err
	}
	now := n.events.LimitsAt(last + 1)
	if !n.settings.LimitsGiven || n.settings.Limits == now {
		return now, nil
	}
	if len(others) > 0 {
		return hold.Limits{}, fmt.Errorf("the log's limits are --%s %s and --%s %s, and there are processes that know these alone (%s); leave the flags out, or stop all gateways and workers, and start a gateway with the new limits first (one that was killed counts for %v more)",
			settings.KeyMaxClockSkew, time.Duration(now.MaxClockSkew), settings.KeyMaxFutureEnd, time.Duration(now.MaxFutureEnd), strings.Join(others, ", "), generation.GatewayTTL)
	}
	return n.settings.Limits, n.events.SetLimits(ctx, n.settings.Limits)
}
