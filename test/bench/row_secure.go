package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
	"holdmetrics/test/build"
)

// secureRow is what TLS and a key cost the real `holdmetrics serve`, against the same server
// without: events by bulk RPC until the log has them, and updates that watchers of all
// holders get while more of them change than goes out. Load, clients and server share
// the machine, so the clients' share of TLS counts too.
type secureRow struct{ often }

func (secureRow) name() string  { return "secure" }
func (secureRow) about() string { return "ingest and watch with TLS and a key, against those without" }

func (secureRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	var figures [2]secureOutput
	for i, secure := range []bool{false, true} {
		var err error
		if figures[i], err = b.secure(ctx, secure); err != nil {
			return nil, err
		}
	}
	plain, secured := figures[0], figures[1]
	aim := report.Aim{report.RatioAtLeast(0.85)}
	return []report.Line{
		{Name: "bulk RPC, TLS and key", Value: secured.Events, Unit: "events/s", Fsync: true, Against: "without", AgainstValue: plain.Events, Aim: aim},
		{Name: "watch, TLS and key, delivered", Value: secured.Updates, Unit: "updates/s", Fsync: true, Against: "without", AgainstValue: plain.Updates, Aim: aim},
	}, nil
}

// secureOutput is a second's worth.
type secureOutput struct{ Events, Updates float64 }

// secure measures one server.
func (b *bench) secure(ctx context.Context, secure bool) (out secureOutput, err error) {
	dir, err := b.tempDir("secure")
	if err != nil {
		return out, err
	}
	var ca []byte
	var env []string
	if secure {
		cert, key := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
		if ca, err = writeCertificate(cert, key); err != nil {
			return out, err
		}
		env = []string{"TLS_CERT=" + cert, "TLS_KEY=" + key, "AUTH=on"}
	}
	s, err := b.startServe(ctx, filepath.Join(dir, "data"), env...)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	at := s.at
	if secure {
		at.CA = ca
		if at.Key, err = b.createKey(ctx, filepath.Join(dir, "data"), at.NATS.URL); err != nil {
			return out, err
		}
	}
	warm, count := b.window()
	in := load.Input{At: at, Window: load.Window{Warm: warm, Count: count}, Holders: load.Holders, Workers: bulkStreams, Batch: bulkBatch}
	var r load.Rate
	if err := b.call(ctx, "batch", 0, in, &r); err != nil {
		return out, err
	}
	out.Events = r.PerSecond
	w := secureInput{At: at, Watchers: b.size(1000), Window: in.Window}
	return out, b.call(ctx, "securewatch", 0, w, &out.Updates)
}

// keyText is a key as it is shown once.
var keyText = regexp.MustCompile(`\bhm_\w+`)

// createKey creates a key on a server that runs on a data directory.
func (b *bench) createKey(ctx context.Context, dataDir, natsURL string) (string, error) {
	create := exec.CommandContext(ctx, b.binary, "keys", "create", "bench", "--scopes", "write,read", "--data-dir", dataDir, "--nats-url", natsURL)
	create.Env = build.Environment()
	text, err := create.Output()
	if err != nil {
		return "", fmt.Errorf("creating a key: %w", err)
	}
	key := keyText.FindString(string(text))
	if key == "" {
		return "", errors.New("creating a key: none was shown")
	}
	return key, nil
}

// secureInput says whom to watch, and how long.
type secureInput struct {
	At       load.Addresses
	Watchers int
	Window   load.Window
}

func secureRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[secureInput](raw)
	if err != nil {
		return err
	}
	delivered, err := measureSecure(ctx, &in)
	if err != nil && !errors.Is(err, load.ErrMeasured) {
		return err
	}
	return answer(delivered)
}

// secureHolders are few, so that what is watched is what changes.
const secureHolders = 1000

// measureSecure returns how many updates a second watchers get.
func measureSecure(ctx context.Context, in *secureInput) (float64, error) {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w, ended, err := startWatchers(running, cancel, in.At, in.Watchers)
	if err != nil {
		return 0, err
	}
	conn, err := load.DialRaw(in.At)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	ended.Go(func() {
		batches := load.NewBatches(load.NewSource(0, 1, secureHolders))
		err := load.Stream(running, conn, load.BatchMethod, func(buf []byte) []byte {
			load.Pause(running, floodEvery)
			return batches.Append(buf, 512)
		}, func([]byte) error { return nil })
		if running.Err() == nil {
			cancel(err)
		}
	})
	load.Pause(running, in.Window.Warm)
	counted, began := w.delivered.Load(), time.Now()
	load.Pause(running, in.Window.Count)
	perSecond := float64(w.delivered.Load()-counted) / time.Since(began).Seconds()
	cancel(load.ErrMeasured)
	ended.Wait()
	return perSecond, context.Cause(running)
}

// writeCertificate writes a certificate for this machine, and returns it.
func writeCertificate(certFile, keyFile string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(certFile, cert, 0o600); err != nil {
		return nil, err
	}
	return cert, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}
