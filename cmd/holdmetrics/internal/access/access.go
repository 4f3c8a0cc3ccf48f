// Package access starts what a process needs to know its callers: the keys, the issuer of
// tokens, the scopes of certificates, and the audit log.
package access

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/auth/auditlog"
	"holdmetrics/gateway/auth/jwt"
	"holdmetrics/gateway/auth/keys"
	"holdmetrics/internal/service"
)

// Config is what the parts are started with. All is required.
type Config struct {
	Settings   *settings.Settings
	Conn       *nats.Conn
	JS         jetstream.JetStream
	Replicas   int
	Registerer prometheus.Registerer
	Logger     *zap.Logger
}

// issuerTimeout bounds a request to an issuer, its connection included.
const issuerTimeout = 10 * time.Second

// Open makes the bucket of the keys and the stream of the audit log, if there are none. It
// may be called again after an error.
func Open(ctx context.Context, cfg Config) error {
	if err := auditlog.Open(ctx, cfg.JS, cfg.Replicas); err != nil {
		return err
	}
	_, err := keys.Open(ctx, cfg.JS, cfg.Replicas)
	return err
}

// Start starts the parts, which become parts of a group, and returns who names the callers,
// or nil if the settings ask for nobody. It returns when the keys are known.
func Start(ctx context.Context, cfg Config, group *service.Group) (*auth.Authenticator, error) {
	now := func() int64 { return time.Now().UnixNano() }
	recorder := auditlog.NewRecorder(auditlog.RecorderConfig{Conn: cfg.Conn, JS: cfg.JS, Logger: cfg.Logger.Named("audit"), Now: now})
	group.Go("the audit log", recorder.Run)
	refused, err := newRefusals(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	if !cfg.Settings.Security.Auth {
		return nil, nil
	}
	names := auth.Config{Now: now, Observer: observers{refused, recorder}}
	set := keys.NewSet(keys.SetConfig{JS: cfg.JS, Now: now, Logger: cfg.Logger.Named("keys")})
	group.Go("the keys", set.Run)
	if err := set.Wait(ctx); err != nil {
		return nil, err
	}
	names.Keys = set
	a := &cfg.Settings.Access
	if names.Certificates, err = auth.ParseCertificates(a.ClientScopes); err != nil {
		return nil, err
	}
	if a.HasJWT() {
		issuer := jwt.FromIssuer(a.JWTIssuer, &http.Client{Timeout: issuerTimeout})
		if a.JWTKeysFile != "" {
			if issuer, err = jwt.FromFile(a.JWTKeysFile); err != nil {
				return nil, fmt.Errorf("%s: %w", settings.Describe(settings.KeyJWTKeysFile), err)
			}
		}
		names.Tokens = jwt.New(jwt.Config{
			Issuer: a.JWTIssuer, Audience: a.JWTAudience, Skew: a.JWTSkew, Keys: issuer, Now: now,
			ScopeClaim: a.JWTScopeClaim, TokensClaim: a.JWTTokensClaim, HoldersClaim: a.JWTHoldersClaim,
		})
	}
	return auth.New(names), nil
}

// observers tell several observers.
type observers []auth.Observer

// Refused implements [auth.Observer].
func (o observers) Refused(r auth.Refusal) {
	for _, one := range o {
		one.Refused(r)
	}
}

// refusals counts refusals by their reason.
type refusals map[auth.Reason]prometheus.Counter

func newRefusals(reg prometheus.Registerer) (refusals, error) {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "holdmetrics", Subsystem: "auth", Name: "refusals_total",
		Help: "Requests and events refused to their caller, by reason: missing, invalid or expired credentials, a missing scope, narrowed, quota, unavailable or method.",
	}, []string{"reason"})
	r := refusals{}
	for _, reason := range auth.Reasons {
		r[reason] = vec.WithLabelValues(string(reason)) // so that rates begin at 0
	}
	return r, reg.Register(vec)
}

// Refused implements [auth.Observer].
func (r refusals) Refused(f auth.Refusal) { r[f.Reason].Inc() }
