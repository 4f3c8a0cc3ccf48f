package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"holdmetrics/hold"
)

// Ctrl-C is how following ends, and no failure.
func TestFollowEndsCleanly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := started(t, dir)
	d := hold.Draft{Token: "T", Holder: "h", Start: hold.StampOf(100e9)}
	if _, err := p.Producer.Record(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	var errText bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"log", "--nats-url", "nats://" + p.Broker.Address().String(), "--follow", "--from", "1", "--format", "csv"}, asOperator(dir)...),
			streams{in: strings.NewReader(""), out: w, err: &errText})
		_ = w.Close()
	}()
	lines := bufio.NewScanner(r)
	for want := range 2 { // the header, and the event
		if !lines.Scan() || !strings.Contains(lines.Text(), []string{"position,", "1,0,"}[want]) {
			t.Fatalf("line %q, %v: %s", lines.Text(), lines.Err(), errText.String())
		}
	}
	cancel()
	for lines.Scan() {
		t.Errorf("line %q after the end", lines.Text())
	}
	if got := <-code; got != exitOK || errText.Len() > 0 {
		t.Errorf("code %d: %s", got, errText.String())
	}
}
