package responder_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"holdmetrics/internal/natstest"
	"holdmetrics/internal/responder"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

const patience = time.Minute

// stop stops a responder, once more than necessary.
func stop(t *testing.T, r *responder.Responder) {
	t.Helper()
	for range 2 {
		if err := r.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
}

// A request is answered by its work; one that the handler declines gets no answer.
func TestAnswers(t *testing.T) {
	t.Parallel()
	conn := natstest.Connect(t, natstest.Start(t))
	r, err := responder.Start(conn, "echo.*", responder.Options{Within: patience}, func(m *nats.Msg) func(context.Context) {
		if m.Subject == "echo.no" {
			return nil
		}
		return func(context.Context) { _ = m.Respond(m.Data) }
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, r)
	answer, err := conn.Request("echo.yes", []byte("x"), patience)
	if err != nil || string(answer.Data) != "x" {
		t.Errorf("answered %v, %v", answer, err)
	}
	if _, err := conn.Request("echo.no", nil, 50*time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("a declined request: %v", err)
	}
}

// At most AtOnce requests are worked on together; a further one gets no answer.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	conn := natstest.Connect(t, natstest.Start(t))
	started, release := make(chan struct{}), make(chan struct{})
	handled := make(chan string, 3)
	r, err := responder.Start(conn, "busy", responder.Options{AtOnce: 1}, func(m *nats.Msg) func(context.Context) {
		handled <- string(m.Data)
		return func(context.Context) {
			started <- struct{}{}
			<-release
			_ = m.Respond(m.Data)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, r)
	to := nats.NewInbox()
	answers, err := conn.SubscribeSync(to)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(text string) {
		t.Helper()
		if err := conn.PublishRequest("busy", to, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := <-handled; got != text {
			t.Fatalf("handled %s, want %s", got, text)
		}
	}
	ask("first")
	<-started
	ask("second") // while the first is worked on
	release <- struct{}{}
	if m, err := answers.NextMsg(patience); err != nil || string(m.Data) != "first" {
		t.Fatalf("answered %v, %v", m, err)
	}
	select {
	case <-started:
		t.Error("a request beyond the bound was worked on")
	default:
	}
}

// Stop ends the context of the work, and waits for it.
func TestStopWaitsForTheWork(t *testing.T) {
	t.Parallel()
	conn := natstest.Connect(t, natstest.Start(t))
	started := make(chan struct{})
	ended := false
	r, err := responder.Start(conn, "long", responder.Options{}, func(*nats.Msg) func(context.Context) {
		return func(ctx context.Context) {
			close(started)
			<-ctx.Done()
			ended = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.PublishRequest("long", "nobody", nil); err != nil {
		t.Fatal(err)
	}
	<-started
	stop(t, r)
	if !ended {
		t.Error("Stop did not wait for the work")
	}
}

// Stop waits no longer than its context for work that does not end, and says so.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	conn := natstest.Connect(t, natstest.Start(t))
	started, release, cancelled := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r, err := responder.Start(conn, "stuck", responder.Options{}, func(*nats.Msg) func(context.Context) {
		return func(ctx context.Context) {
			close(started)
			<-ctx.Done()
			close(cancelled)
			<-release
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.PublishRequest("stuck", "nobody", nil); err != nil {
		t.Fatal(err)
	}
	<-started
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := r.Stop(soon); !errors.Is(err, responder.ErrRunning) || !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "stuck: requests are still worked on: ") {
		t.Error(err)
	}
	<-cancelled
	close(release)
	stop(t, r)
}

// A responder of a connection that is closed can be stopped.
func TestStopAfterTheConnection(t *testing.T) {
	t.Parallel()
	conn := natstest.Connect(t, natstest.Start(t))
	r, err := responder.Start(conn, "x", responder.Options{}, func(*nats.Msg) func(context.Context) { return nil })
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	stop(t, r)
	if _, err := responder.Start(conn, "x", responder.Options{}, nil); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("start on a closed connection: %v", err)
	}
}
