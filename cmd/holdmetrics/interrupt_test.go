package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/upload"
	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
)

// TestScoreIsInterrupted ends a score while it reads and while it computes: it
// does not go on to the end of what would be long.
func TestScoreIsInterrupted(t *testing.T) {
	t.Parallel()
	const pairs = 100 * checkEvery
	newBook := func() *book {
		return &book{rules: hold.PlainRules(hold.Merge), now: 1e18, limits: hold.DefaultLimits(), pairs: map[pairKey]*hold.Pair{}, names: map[string]string{}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	given := 0
	endless := func(context.Context) iter.Seq2[rows.Event, error] {
		return func(yield func(rows.Event, error) bool) {
			var e rows.Event
			e.Draft = hold.Draft{Token: "T", Holder: "a", Start: hold.Stamp{Seconds: 1, Set: true}}
			for given < pairs && yield(e, nil) {
				given++
			}
		}
	}
	if err := newBook().read(ctx, &source{events: endless}); !errors.Is(err, context.Canceled) || given > checkEvery {
		t.Errorf("reading: %v after %d events", err, given)
	}

	b := newBook()
	for i := range pairs {
		b.pairs[pairKey{holder: fmt.Sprint(i)}] = hold.NewPair(hold.Merge)
	}
	var out bytes.Buffer
	c := &cobra.Command{}
	c.SetContext(ctx)
	c.SetOut(&out)
	if err := b.print(c, &scoreQuery{query: query{format: "csv"}}, new(source)); !errors.Is(err, context.Canceled) || bytes.Count(out.Bytes(), []byte("\n")) > checkEvery {
		t.Errorf("computing: %v", err)
	}
}

func TestWhatIsNotUsedYetIsNamed(t *testing.T) {
	t.Parallel()
	set := map[string]string{"MONGODB_URL": "mongodb://me:secret@db", "NATS_URL": "nats://n", "HTTP_PORT": "1"}
	var out strings.Builder
	settings.WarnUnused(&out, "serve", func(name string) string { return set[name] })
	if got, want := out.String(), "holdmetrics: serve does not use, and ignores: NATS_URL, MONGODB_URL\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	settings.WarnUnused(&out, "serve", func(string) string { return "" })
	if out.Len() > 0 {
		t.Errorf("nothing is set, and it says %q", out.String())
	}
}

func TestWhatCannotBeSentIsRefusedHere(t *testing.T) {
	t.Parallel()
	good := hold.Draft{Token: "T", Holder: "a", Start: hold.Stamp{Seconds: 1, Set: true}}
	for want, change := range map[string]func(*hold.Draft){
		"holder_id is not valid UTF-8":        func(d *hold.Draft) { d.Holder = "\xff" },
		"token_id is longer than 256 bytes":   func(d *hold.Draft) { d.Token = strings.Repeat("T", 1<<20) },
		"weight_exact is not a weight: more ": func(d *hold.Draft) { d.WeightExact = strings.Repeat("9", 1<<20) },
	} {
		d := good
		change(&d)
		if err := upload.Unsendable(&d); err == nil || !strings.HasPrefix(err.Error(), want) || len(err.Error()) > 200 {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := upload.Unsendable(&good); err != nil {
		t.Error(err)
	}
}
