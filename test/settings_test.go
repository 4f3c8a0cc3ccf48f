package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
)

// An operator, or who has stolen his key, changes the settings of the log while serve
// runs. They are put back, and what was deleted by them is not passed over.
func TestSettingsOfTheLogChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	s.recordHolders(0, 50)
	_, js := s.natsConn()
	stream, err := js.Stream(t.Context(), ingest.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	before := stream.CachedInfo().Config
	awaitPutBack := func() {
		t.Helper()
		s.eventually("the settings are put back", func() error {
			info, err := stream.Info(t.Context())
			if err != nil {
				return err
			}
			got, err := json.Marshal(info.Config)
			if err != nil {
				return err
			}
			if want, err := json.Marshal(before); err != nil || string(got) != string(want) {
				return fmt.Errorf("%s, want %s", got, want)
			}
			return nil
		})
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"max_age":       func(c *jetstream.StreamConfig) { c.MaxAge = 24 * time.Hour },
		"max_bytes":     func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 30 },
		"subjects":      func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[1:] },
		"its partition": func(c *jetstream.StreamConfig) { c.Metadata["holdmetrics_partitions"] = "8" },
		"its id":        func(c *jetstream.StreamConfig) { delete(c.Metadata, "holdmetrics_log_id") },
		"its limits":    func(c *jetstream.StreamConfig) { c.Metadata["holdmetrics_limits"] = "garbage" },
	} {
		changed := before
		changed.Metadata = maps.Clone(before.Metadata)
		change(&changed)
		if _, err := js.UpdateStream(t.Context(), changed); err != nil {
			t.Fatal(name, err)
		}
		awaitPutBack()
	}
	s.awaitReady()

	cut := before
	cut.MaxMsgs = 1
	if _, err := js.UpdateStream(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	awaitPutBack()
	s.notReady("the log is damaged")
	_ = s.end(syscall.SIGTERM) // an error, if a partition has failed before

	// Also a start tells.
	s = start(t, dir)
	s.notReady("the log is damaged")
	_ = s.end(syscall.SIGTERM) // an error, if a partition has failed before
}

// A log that is deleted while serve runs is missed at once.
func TestLogDeleted(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.recordHolders(0, 5)
	s.awaitReady()
	_, js := s.natsConn()
	if err := js.DeleteStream(t.Context(), ingest.StreamName); err != nil {
		t.Fatal(err)
	}
	s.notReady("the log is missing")
}

// Garbage in the records of the generations is put right while serve runs. At a start
// serve puts right what it can know, and waits for an operator for the rest, with its
// broker open.
func TestGarbageInTheRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	s.recordHolders(0, 5)
	s.awaitReady()
	_, js := s.natsConn()
	records, err := js.KeyValue(t.Context(), "HOLD_META")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"active", "gen.1", "prepare"} {
		for _, garbage := range []string{"garbage", "{}", `{"stream":"HOLD_EVENTS","seq":1}`} {
			if key == "prepare" && garbage != "garbage" {
				continue // which says that nothing is prepared
			}
			if _, err := records.PutString(t.Context(), key, garbage); err != nil {
				t.Fatal(err)
			}
			s.eventually(key+" is put right", func() error {
				e, err := records.Get(t.Context(), key)
				if err != nil {
					return err
				}
				if string(e.Value()) == garbage {
					return errors.New("it is " + garbage)
				}
				return nil
			})
		}
	}
	s.awaitReady()

	if _, err := records.PutString(t.Context(), "active", "garbage"); err != nil {
		t.Fatal(err)
	}
	s.kill() // most often before it looked
	s = start(t, dir)
	s.awaitReady()

	// A record that it has never read.
	_, js = s.natsConn()
	if records, err = js.KeyValue(t.Context(), "HOLD_META"); err != nil {
		t.Fatal(err)
	}
	if _, err := records.PutString(t.Context(), "gen.9", "garbage"); err != nil {
		t.Fatal(err)
	}
	s.notReady("gen.9 of bucket HOLD_META")
	s.stop()
	address := freeAddress(t)
	repaired := make(chan error, 1)
	s = launchBy(t, dir, []string{binary}, "--nats-address", address)
	s.eventually("it waits for the records", func() error {
		if !strings.Contains(s.log.String(), "waiting until the records of the generations can be read") {
			return errors.New("it does not say so")
		}
		return nil
	})
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			out, said, err := try(t, "generations", "repair", "--remove", "9", "--data-dir", dir, "--nats-url", address)
			if err == nil && strings.Contains(out, "all records can be read") {
				repaired <- nil
				return
			}
			if backoff.Wait(ctx, 100*time.Millisecond) != nil {
				repaired <- errors.Join(err, errors.New(said))
				return
			}
		}
	}()
	s.serving()
	if err := <-repaired; err != nil {
		t.Error(err)
	}
	s.awaitReady()
}

// freeAddress returns an address of loopback that is free now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
