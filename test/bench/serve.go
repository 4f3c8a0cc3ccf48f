package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"holdmetrics/test/bench/internal/load"
)

// build builds the real program, once.
func (b *bench) build(ctx context.Context) (string, error) {
	b.buildOnce.Do(func() {
		b.binary = filepath.Join(b.dir, "holdmetrics")
		out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", b.binary, "holdmetrics/cmd/holdmetrics").CombinedOutput()
		if err != nil {
			b.buildErr = fmt.Errorf("building holdmetrics: %w\n%s", err, out)
		}
	})
	return b.binary, b.buildErr
}

// served is a running `holdmetrics serve`.
type served struct {
	*program
	at       load.Addresses
	profiled sync.WaitGroup
}

// startServe starts the real program on a data directory, with more in its environment,
// and returns when it says where it listens.
func (b *bench) startServe(ctx context.Context, dir string, env ...string) (*served, error) {
	s := &served{}
	args := []string{"serve", "--data-dir", dir,
		"--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0"}
	if b.profile != "" {
		args = append(args, "--pprof-address", "127.0.0.1:0")
	}
	var err error
	s.program, err = b.startProgram(ctx, args, env, func(p *program, what, where string) {
		switch what {
		case "gRPC":
			s.at.GRPC = where
		case "HTTP":
			s.at.HTTP = strings.TrimPrefix(where, "http://")
		case "NATS":
			// Its NATS server knows one user, the operator, whose key it made before.
			s.at.NATS = load.Broker{URL: where, Seed: filepath.Join(dir, "nats-users", "operator.seed")}
		case "pprof":
			s.profiled.Go(func() { p.saveProfile(where, b.profile) })
		}
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// serveProfile is how long the program is profiled, from when its load has warmed up.
const (
	serveProfile     = 5
	serveProfileFrom = 3 * time.Second
)

// saveProfile takes a CPU profile of the program. One that does not live so long has none.
func (p *program) saveProfile(url, dir string) {
	time.Sleep(serveProfileFrom)
	response, err := http.Get(fmt.Sprintf("%sprofile?seconds=%d", url, serveProfile))
	if err != nil {
		return
	}
	defer response.Body.Close()
	profile, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusOK {
		_ = os.WriteFile(filepath.Join(dir, fmt.Sprintf("serve-%d.pprof", p.cmd.Process.Pid)), profile, 0o644)
	}
}

// stop asks the server to stop and waits for it.
func (s *served) stop() error {
	defer s.profiled.Wait()
	return s.program.stop()
}

// ready returns when GET /readyz says so.
func (s *served) ready(ctx context.Context) error {
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.at.HTTP+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if !load.Pause(ctx, 2*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}
