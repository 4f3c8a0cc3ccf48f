package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"holdmetrics/internal/testwait"
	"holdmetrics/internal/tlsfiles/tlstest"
)

// Gateways and workers that wait for NATS answer by HTTP from the beginning, over TLS if
// they have a certificate.
func TestWaitingProcessesAnswerOverTLS(t *testing.T) { // alone: its ports must stay free until they are taken
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	nobody := "nats://" + free.Addr().String() // held, and never answering
	ours := tlstest.New(t)
	cert, key := ours.Issue(t, tlstest.Cert{}).Write(t, t.TempDir(), "server")
	client := &http.Client{Timeout: clusterPatience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ours.Pool(), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	for name, args := range map[string][]string{
		"gateway": {"gateway", "--grpc-address", "127.0.0.1:0", "--http-address"},
		"worker":  {"worker", "--mongodb-url", "mongodb://" + free.Addr().String(), "--metrics-address"},
	} {
		port, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := port.Addr().String()
		port.Close()
		c := start(t, append(args, at, "--nats-url", nobody, "--tls-cert", cert, "--tls-key", key)...)
		ask := func(path string) (int, string, error) {
			answer, err := client.Get("https://" + at + path)
			if err != nil {
				return 0, "", err
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			return answer.StatusCode, answer.Proto + " " + string(text), err
		}
		testwait.Poll(t, name+" answers", func() error {
			code, text, err := ask("/healthz")
			if err == nil && (code != http.StatusOK || !strings.HasPrefix(text, "HTTP/2")) {
				t.Fatalf("%s: healthz %d %s", name, code, text)
			}
			return err
		})
		testwait.Poll(t, name+" says what it waits for", func() error {
			code, text, err := ask("/readyz")
			if err == nil && (code != http.StatusServiceUnavailable || !strings.Contains(text, "waiting for NATS")) {
				err = errors.New(fmt.Sprint(code, text))
			}
			return err
		})
		if answer, err := http.Get("http://" + at + "/healthz"); err == nil {
			answer.Body.Close()
			if answer.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: without TLS it answers %s", name, answer.Status)
			}
		}
		c.stop()
		<-c.ended
	}
}
