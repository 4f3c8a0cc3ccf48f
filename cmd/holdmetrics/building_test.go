package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
	"holdmetrics/processor/generation"
)

// The time left is estimated from the part of the events that took the time so far.
func TestBuildBarLeft(t *testing.T) {
	t.Parallel()
	bar := &buildBar{first: &generation.Build{Events: 25, Rejected: 5, Goal: 1000, Behind: true}}
	if left := bar.left(&generation.Build{Events: 40, Rejected: 10, Goal: 1000, Behind: true}, 2); left != "1m35s" { // 20 of them took 2 s
		t.Errorf("%s left", left)
	}
}

// Generations says what status says of the active one: what is applied, stored and
// published, and what was refused; errors are printed below the table.
func TestGenerationsTellHowFar(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := started(t, dir)
	nats := "nats://" + p.Broker.Address().String()
	at, err := p.Producer.Record(t.Context(), &hold.Draft{Token: "T", Holder: "h", Start: hold.StampOf(100e9)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Events.JetStream().Publish(t.Context(), "hold.log.3", []byte{0xff}); err != nil {
		t.Fatal(err)
	}
	if at != 1 {
		t.Fatal(at)
	}
	r := openRegistry(t, nats, natstest.Operator(dir))
	lastError := strings.Repeat("long ", 100) + "\nand more"
	if err := r.PutProgress(t.Context(), "1", generation.Progress{Worker: "w", LastError: lastError}, time.Hour); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all of it is there", func() error {
		var out, warned bytes.Buffer
		if code := run(t.Context(), append([]string{"generations", "--format", "csv", "--nats-url", nats}, asOperator(dir)...), streams{out: &out, err: &warned}); code != exitOK {
			t.Fatal(&warned)
		}
		if !strings.Contains(out.String(), "1,active,none,merge,,2,0,2,0,2,0,1,") || strings.Contains(out.String(), "long") {
			return errors.New(out.String())
		}
		if want := "generation 1: w: " + strings.Repeat("long ", 100) + "; and more\n"; warned.String() != want {
			t.Errorf("%q, want %q", &warned, want)
		}
		return nil
	})
}
