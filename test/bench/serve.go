package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
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
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	began  time.Time
	at     addresses
	done   chan error

	profiled sync.WaitGroup
}

// startServe starts the real program on a data directory, and returns when it
// says where it listens.
func (b *bench) startServe(ctx context.Context, dir string) (*served, error) {
	binary, err := b.build(ctx)
	if err != nil {
		return nil, err
	}
	s := &served{stderr: new(bytes.Buffer), done: make(chan error, 1)}
	args := []string{"serve", "--data-dir", dir,
		"--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0"}
	if b.profile != "" {
		args = append(args, "--pprof-address", "127.0.0.1:0")
	}
	s.cmd = exec.Command(binary, args...)
	s.cmd.Env = withoutSettings(os.Environ())
	s.cmd.Stderr = s.stderr
	s.cmd.SysProcAttr = ownGroup()
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	up := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			switch f := strings.Fields(lines.Text()); {
			case len(f) == 2 && f[0] == "gRPC":
				s.at.GRPC = f[1]
			case len(f) == 2 && f[0] == "HTTP":
				s.at.HTTP = strings.TrimPrefix(f[1], "http://")
			case len(f) == 2 && f[0] == "NATS":
				s.at.NATS = f[1]
			case len(f) == 2 && f[0] == "pprof":
				s.profiled.Go(func() { s.saveProfile(f[1], b.profile) })
			case strings.HasPrefix(lines.Text(), "Ctrl-C"):
				close(up)
			}
		}
		s.done <- s.cmd.Wait()
	}()
	select {
	case <-up:
		return s, nil
	case err := <-s.done:
		return nil, fmt.Errorf("serve did not come up: %w: %s", err, s.stderr)
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), s.stop())
	}
}

// serveProfile is how long the program is profiled, from when its load has warmed up.
const (
	serveProfile     = 5
	serveProfileFrom = 3 * time.Second
)

// saveProfile takes a CPU profile of the program. One that does not live so long has none.
func (s *served) saveProfile(url, dir string) {
	time.Sleep(serveProfileFrom)
	response, err := http.Get(fmt.Sprintf("%sprofile?seconds=%d", url, serveProfile))
	if err != nil {
		return
	}
	defer response.Body.Close()
	profile, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusOK {
		_ = os.WriteFile(filepath.Join(dir, fmt.Sprintf("serve-%d.pprof", s.cmd.Process.Pid)), profile, 0o644)
	}
}

// withoutSettings keeps what the machine sets away from the server.
func withoutSettings(env []string) []string {
	for _, name := range []string{"DATA_DIR", "GRPC_ADDRESS", "HTTP_HOST", "HTTP_PORT", "NATS_ADDRESS", "POLICY", "MAX_CLOCK_SKEW", "MAX_FUTURE_END", "GC_INTERVAL", "LOG_LEVEL", "PPROF_ADDRESS"} {
		env = append(env, name+"=")
	}
	return env
}

// stop asks the server to stop and waits for it.
func (s *served) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.AfterFunc(stopGrace, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	defer s.profiled.Wait()
	if err := <-s.done; err != nil {
		return fmt.Errorf("serve: %w: %s", err, s.stderr)
	}
	return nil
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
		if !pause(ctx, 2*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}
