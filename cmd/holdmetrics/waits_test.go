package main

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdmetrics/internal/testwait"
)

// A worker that waits for its database, or for NATS, serves its status from the
// beginning, and reports what it waits for.
func TestWorkerThatWaitsAnswers(t *testing.T) { // alone: its port must stay free until the worker takes it
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String() // held, and never answering: nobody else gets it
	defer free.Close()
	for away, args := range map[string][]string{
		"MongoDB": {"--nats-url", startNATS(t), "--mongodb-url", "mongodb://" + nobody + "/?directConnection=true"},
		"NATS":    {"--nats-url", "nats://" + nobody, "--mongodb-url", "mongodb://" + nobody},
	} {
		port, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := port.Addr().String()
		port.Close()
		c := start(t, append([]string{"worker", "--metrics-address", at, "--worker-id", "w"}, args...)...)
		client := &http.Client{Timeout: clusterPatience}
		// It listens a moment after the start.
		for began := time.Now(); ; testwait.Pause(began) {
			answer, err := client.Get("http://" + at + "/healthz")
			if err == nil {
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("%s is away: healthz %d", away, answer.StatusCode)
				}
				break
			}
			if time.Since(began) > clusterPatience {
				t.Fatal(err, c.err)
			}
		}
		if code, text := get(t, "http://"+at+"/metrics"); code != http.StatusOK || !strings.Contains(text, "go_goroutines") {
			t.Errorf("%s is away: metrics %d %.200s", away, code, text)
		}
		for _, path := range []string{"/readyz", "/status"} {
			for began := time.Now(); ; testwait.Pause(began) {
				code, text := get(t, "http://"+at+path)
				if code != http.StatusServiceUnavailable {
					t.Fatalf("%s is away: %s %d %s", away, path, code, text)
				}
				if strings.Contains(text, "waiting for "+away) {
					break
				}
				if time.Since(began) > clusterPatience {
					t.Fatalf("%s is away: %s says %s", away, path, text)
				}
			}
		}
		c.stop()
		<-c.ended
	}
}

// A start that waits for too long fails with what it waited for.
func TestStartsAreBounded(t *testing.T) { // alone: nobody may take the port that does not answer
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	free.Close()
	for what, args := range map[string][]string{
		"waiting for NATS: the NATS servers do not answer: nobody answers at nats://" + nobody: {"worker", "--metrics-address", "127.0.0.1:0", "--nats-url", "nats://" + nobody, "--mongodb-url", "mongodb://" + nobody},
		"waiting for NATS: the NATS servers do not answer: ":                                   {"gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-url", "nats://" + nobody},
	} {
		c := start(t, append(args, "--start-timeout", "100ms")...)
		select {
		case code := <-c.ended:
			if want := "start: gave up after 100ms (--start-timeout): " + what; code != exitFailed || !strings.Contains(c.err.String(), want) {
				t.Errorf("%s: exit %d: %s, want %s", args[0], code, c.err, want)
			}
		case <-time.After(clusterPatience):
			t.Fatalf("%s goes on", args[0])
		}
	}
}
