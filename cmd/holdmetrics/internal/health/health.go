// Package health asks a server of this machine whether it is well, for containers that
// have no other program to ask with.
package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/settings"
)

// maxReason is how much of an answer is shown.
const maxReason = 400

// New returns the command healthcheck.
func New() *cobra.Command {
	var ready bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "healthcheck [serve|gateway|worker]",
		Short: "Ask a server on this machine whether it is well",
		Long: `Healthcheck asks the server that runs with the same settings on this machine, by
HTTP on its loopback address, and ends with 0 if it is well and with 1 if not. It
is for containers. It takes the settings of serve unless another name is given,
from flags, the environment and the file, as the server does.

Over TLS it does not check the certificate: it asks its own machine.`,
		Example: `  holdmetrics healthcheck gateway
  holdmetrics healthcheck worker --ready`,
		ValidArgs: slices.Sorted(maps.Keys(settings.Roles)),
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
	}
	c.Flags().AddFlagSet(settings.All())
	c.Flags().BoolVar(&ready, "ready", false, "ask whether it is ready, instead of alive")
	c.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long the answer may take")
	c.RunE = func(c *cobra.Command, args []string) error {
		name := "serve"
		if len(args) > 0 {
			name = args[0]
		}
		l, err := settings.Load(c)
		if err != nil {
			return err
		}
		role := &cobra.Command{}
		settings.Roles[name](role)
		s, err := settings.Parse(l.Values, role.Flags())
		if err != nil {
			return err
		}
		address := s.HTTPAddress
		if name == "worker" {
			address = s.Metrics.Address
		}
		path := "/healthz"
		if ready {
			path = "/readyz"
		}
		ctx, cancel := context.WithTimeout(c.Context(), timeout)
		defer cancel()
		return ask(ctx, local(address), path, &s.Security)
	}
	return c
}

// local returns the address by which a server that listens at an address is reached on
// its own machine.
func local(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// ask returns an error unless the server at an address answers a path with 200.
func ask(ctx context.Context, address, path string, security *settings.Security) error {
	scheme, transport := "http", &http.Transport{DisableKeepAlives: true}
	if security.HasTLS() {
		scheme = "https"
		// A program that can take the port of the server on this machine can answer anything.
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
		if pair, err := tls.LoadX509KeyPair(security.TLSCert, security.TLSKey); err == nil {
			transport.TLSClientConfig.Certificates = []tls.Certificate{pair} // where clients need one
		}
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if errors.As(err, new(tls.AlertError)) && path == "/healthz" {
		return nil // it is alive, and wants a certificate of another authority
	}
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", address, errors.Unwrap(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	reason, _ := io.ReadAll(io.LimitReader(answer.Body, maxReason)) // for the message alone
	return fmt.Errorf("%s answers %s with %s: %s", address, path, answer.Status, strings.TrimSpace(string(reason)))
}
