package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"holdmetrics/internal/testwait"
	"holdmetrics/test/build"
)

// binary is holdmetrics, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(build.Run(func(path string) int {
		binary = path
		return testwait.Watch(m).Run()
	}))
}

// writer hands on what is written.
type writer chan string

func (w writer) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

// The tour starts, has its events, says what to try, and ends when it is asked to.
func TestTour(t *testing.T) {
	t.Parallel()
	said := make(writer, 16)
	free := []string{"--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0"}
	tour := tour{binary: binary, args: free, holders: 25, seed: 1, out: said}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- tour.run(ctx) }() // awaited below
	select {
	case text := <-said:
		for _, want := range []string{"1250 events of 25 holders", "http://127.0.0.1:", binary + " top"} {
			if !strings.Contains(text, want) {
				t.Errorf("the tour does not say %q:\n%s", want, text)
			}
		}
		cancel()
	case err := <-ended:
		t.Fatalf("the tour has ended: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A server that does not start ends the tour with what to look at.
func TestTourWithoutServer(t *testing.T) {
	t.Parallel()
	tour := tour{binary: binary, args: []string{"--policy", "none"}, holders: 1, out: io.Discard}
	if err := tour.run(t.Context()); err == nil || !strings.Contains(err.Error(), "has not started") {
		t.Errorf("the tour ends with %v", err)
	}
	tour.binary = "absent/holdmetrics"
	if err := tour.run(t.Context()); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("the tour ends with %v", err)
	}
}
