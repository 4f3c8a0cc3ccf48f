package generation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"holdmetrics/hold"
)

// fakeGateway is a Gateway that refuses or blocks generations by name.
type fakeGateway struct {
	mu       sync.Mutex
	serving  Serving
	prepared string
	refuses  map[string]error
	blocks   map[string]bool // Prepare lasts until its context ends
	calls    []string
}

func (g *fakeGateway) called(format string, args ...any) {
	g.calls = append(g.calls, fmt.Sprintf(format, args...))
}

func (g *fakeGateway) Serving() Serving {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.serving
}

func (g *fakeGateway) Prepared() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.prepared
}

func (g *fakeGateway) Prepare(ctx context.Context, r *Record) error {
	g.mu.Lock()
	err, blocks := g.refuses[r.Name], g.blocks[r.Name]
	g.called("prepare %s", r.Name)
	g.prepared = ""
	g.mu.Unlock()
	if blocks {
		<-ctx.Done()
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.prepared = r.Name
	return nil
}

func (g *fakeGateway) Switch(_ context.Context, name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.prepared != name {
		return fmt.Errorf("%s is prepared, not %s", g.prepared, name)
	}
	g.called("switch %s", name)
	g.serving, g.prepared = Serving{Generation: name, Rules: "rules of " + name, Policy: "merge"}, ""
	return nil
}

func (g *fakeGateway) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.called("release")
	g.prepared = ""
}

// A gateway loads what is prepared, serves what is active, reports what keeps it from
// that, tries again, and takes its entry out when it ends.
func TestFollower(t *testing.T) {
	t.Parallel()
	r := opened(t)
	w := &world{t: t, registry: r}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if _, err := r.Begin(ctx, Record{Policy: "merge", Version: "rules of 1", Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"2", "3", "slow"} {
		if err := r.Create(ctx, Record{Name: name, Policy: "merge", Version: "rules of " + name, Created: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Create(ctx, Record{Name: "past", Until: 1, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	g := &fakeGateway{
		serving: Serving{Generation: "1", Rules: "rules of 1", Policy: "merge"},
		refuses: map[string]error{"3": errors.New("disk full")}, blocks: map[string]bool{"slow": true},
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- NewFollower(FollowerConfig{ID: "g", Registry: r, Gateway: g, Logger: zap.NewNop()}).Run(running)
	}()
	reports := func(active, prepared, lastError string) {
		t.Helper()
		w.until(fmt.Sprintf("the gateway reports %q, %q, %q", active, prepared, lastError), func() bool {
			all, err := r.Gateways(ctx)
			return err == nil && len(all) == 1 && all[0].Active == active && all[0].Prepared == prepared &&
				strings.Contains(all[0].LastError, lastError) && (lastError != "" || all[0].LastError == "")
		})
	}
	prepare := func(name string) {
		t.Helper()
		if err := r.Prepare(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	reports("1", "", "")
	prepare("none")
	reports("1", "", `not known: "none"`)
	prepare("past")
	reports("1", "", "ends at position 1")
	prepare("slow") // and what blocks is given up for what comes next
	prepare("2")
	reports("1", "2", "")
	prepare("")
	reports("1", "", "")
	prepare("3")
	reports("1", "", "disk full")
	g.mu.Lock()
	g.refuses = nil
	g.mu.Unlock()
	reports("1", "3", "") // tried again
	if err := r.Activate(ctx, "1", "3", 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	reports("3", "", "")
	// By another record of the same name it is opened again.
	if err := r.Change(ctx, "3", func(g *Record) error { g.Policy = "sum"; return nil }); err != nil {
		t.Fatal(err)
	}
	w.until("it is opened again", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		n := 0
		for _, c := range g.calls {
			if c == "switch 3" {
				n++
			}
		}
		return n > 1
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if all, err := r.Gateways(ctx); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// A gateway that began before there was a record of its generation counts by merge;
// also a record of no rules may name another policy.
func TestServingDiffers(t *testing.T) {
	t.Parallel()
	serving := Serving{Generation: "1", Rules: hold.NoRulesVersion, Policy: "merge"}
	for name, c := range map[string]struct {
		record Record
		want   bool
	}{
		"the same":             {Record{Version: "none", Policy: "merge"}, false},
		"rules":                {Record{Version: "abc", Policy: "merge"}, true},
		"no rules, but sum":    {Record{Version: "none", Policy: "sum"}, true},
		"of an earlier record": {Record{Version: "none"}, false},
	} {
		if got := serving.differs(&c.record); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
