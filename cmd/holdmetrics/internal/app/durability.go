package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

// warnOfBroker looks once, at the start, whether the broker keeps what this
// program relies on, and says what it does not, and what that means. It repairs
// nothing: that is the operator's.
//
// What would lose or damage data is no warning but an error where the log and the
// buckets are opened (storage, limits, persist mode, atomic batches).
func warnOfBroker(ctx context.Context, n *process) {
	ctx, cancel := context.WithTimeout(ctx, startRequest)
	defer cancel()
	for _, text := range brokerWarnings(ctx, n.js, n.settings.Cluster.Replicas, n.settings.Cluster.NATSMonitor) {
		n.log.Warn("broker keeps less than it should", zap.String("problem", text))
	}
	n.log.Info("broker checked", zap.String("version", n.conn.ConnectedServerVersion()))
}

func brokerWarnings(ctx context.Context, js jetstream.JetStream, replicas int, monitor string) (warnings []string) {
	least := 0
	for _, name := range []string{ingest.StreamName, ingest.DeadLetterStream, "KV_" + projection.BucketName(generation.First), "KV_" + lease.Bucket(generation.First)} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			continue // not made yet, or said elsewhere
		}
		have := stream.CachedInfo().Config
		if have.Replicas < replicas {
			warnings = append(warnings, fmt.Sprintf("stream %s has %d replicas, wanted are %d: it stops with the server that has it, and is lost with its disk (hint: nats stream edit %s --replicas %d)",
				name, have.Replicas, replicas, name, replicas))
		}
		if have.Compression != jetstream.NoCompression && max(have.Replicas, replicas) > 1 {
			warnings = append(warnings, fmt.Sprintf("stream %s is compressed, and is to have %d replicas: a NATS server of version 2.15 that is started again may damage its replica of such a stream (hint: nats stream edit %s --compression none, before it has replicas)",
				name, max(have.Replicas, replicas), name))
		}
		if name == ingest.StreamName {
			least = have.Replicas
		}
	}
	sync, known := "", false
	if monitor != "" {
		var err error
		if sync, known, err = SyncOf(ctx, monitor); err != nil {
			warnings = append(warnings, fmt.Sprintf("how the broker syncs to disk cannot be seen at %s: %v", settings.Mask(monitor), settings.InnerError(err)))
		}
	}
	switch {
	case known && sync != "always" && least == 1:
		warnings = append(warnings, fmt.Sprintf("the broker syncs to disk every %s, and the log has one replica: a power cut loses the events that were acknowledged since (hint: sync_interval: always in the jetstream block of its configuration, or three replicas)", sync))
	case known && sync != "always":
		warnings = append(warnings, fmt.Sprintf("the broker syncs to disk every %s: events that were acknowledged since are lost only where a majority of its servers loses power at once (hint: sync_interval: always, where that can happen)", sync))
	case !known && least == 1:
		warnings = append(warnings, fmt.Sprintf("the log has one replica, and a client cannot see whether its server syncs before it acknowledges: unless it is configured with sync_interval: always, a power cut loses acknowledged events (hint: --%s http://HOST:8222 has it looked at)", settings.KeyNATSMonitor))
	}
	return warnings
}

// SyncOf asks the monitoring port of a server how it syncs: "always", or how often.
func SyncOf(ctx context.Context, monitor string) (sync string, known bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(monitor, "/")+"/varz", nil)
	if err != nil {
		return "", false, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return "", false, err
	}
	defer response.Body.Close()
	var body struct {
		JetStream struct {
			Config *struct {
				SyncAlways   bool          `json:"sync_always"`
				SyncInterval time.Duration `json:"sync_interval"`
			} `json:"config"`
		} `json:"jetstream"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return "", false, err
	}
	switch c := body.JetStream.Config; {
	case c == nil:
		return "", false, fmt.Errorf("it runs no JetStream")
	case c.SyncAlways:
		return "always", true, nil
	default:
		return c.SyncInterval.String(), true, nil
	}
}
