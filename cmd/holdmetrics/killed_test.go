package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
	"holdmetrics/processor/generation"
)

// An activate that was killed between its two writes leaves the first of them, and a
// gateway that has loaded what was to come. It is seen, stands in nobody's way, and
// goes by itself.
func TestActivateWasKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := started(t, dir)
	d := hold.Draft{Token: "T", Holder: "h", Start: hold.StampOf(100e9), End: hold.StampOf(200e9)}
	if _, err := p.Producer.Record(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
	nats := "nats://" + p.Broker.Address().String()
	said := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), slices.Concat(args, asOperator(dir), []string{"--nats-url", nats}), streams{in: strings.NewReader(""), out: &out, err: &out}); code != want {
			t.Fatalf("%v: exit %d: %s", args, code, &out)
		}
		return out.String()
	}
	r := openRegistry(t, nats, natstest.Operator(dir))
	// kill leaves what an activate of 2 leaves whose process ends before its second write.
	kill := func(ttl time.Duration) {
		t.Helper()
		if _, err := r.PrepareFor(t.Context(), "2", ttl); err != nil {
			t.Fatal(err)
		}
		gatewaysAre(t, r, "it is loaded", 1, func(d *generation.GatewayState) bool { return d.Prepared == "2" && d.Active == "1" })
	}
	said(exitOK, "rebuild", "--name", "2")
	said(exitOK, "rebuild", "--name", "3")

	kill(time.Hour)
	if out := said(exitOK, "generations", "--format", "csv"); !strings.Contains(out, "1,active,") || !strings.Contains(out, "2,prepared,") || !strings.Contains(out, "3,ready,") {
		t.Error(out)
	}
	if out := said(exitFailed, "drop", "2"); !strings.Contains(out, "generation 2 is being activated; 'holdmetrics activate 1' ends that, and where the command was killed, half a minute does") {
		t.Error(out)
	}
	if out := said(exitFailed, "rollback"); !strings.Contains(out, "generation 1 is the first that was active") {
		t.Error(out)
	}
	// Again, the same one; and another one beside what was left.
	if out := said(exitOK, "activate", "2"); !strings.Contains(out, "generation 2 is active") {
		t.Error(out)
	}
	if out := said(exitOK, "rollback"); !strings.Contains(out, "generation 1 is active") {
		t.Error(out)
	}
	kill(time.Hour)
	if out := said(exitOK, "activate", "3"); !strings.Contains(out, "generation 3 is active") {
		t.Error(out)
	}
	if out := said(exitOK, "rollback"); !strings.Contains(out, "generation 1 is active") {
		t.Error(out)
	}
	kill(time.Hour)
	said(exitOK, "activate", "1") // which is active: it ends what was left
	gatewaysAre(t, r, "it is let go of", 1, func(d *generation.GatewayState) bool { return d.Prepared == "" && d.Active == "1" })

	// By itself. How long a gateway takes to load it is for the machine to say.
	for ttl, loaded := time.Second, false; !loaded; ttl *= 2 {
		if _, err := r.PrepareFor(t.Context(), "2", ttl); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is loaded, or its time is over", func() error {
			gateways, err := r.Gateways(t.Context())
			if err != nil {
				return err
			}
			loaded = slices.ContainsFunc(gateways, func(d generation.GatewayState) bool { return d.Prepared == "2" && d.Active == "1" })
			left, err := r.Prepared(t.Context())
			if err == nil && !loaded && left.Generation != "" {
				err = fmt.Errorf("%+v", gateways)
			}
			return err
		})
	}
	gatewaysAre(t, r, "it is let go of in time", 1, func(d *generation.GatewayState) bool { return d.Prepared == "" && d.Active == "1" })
	if out := said(exitOK, "generations", "--format", "csv"); !strings.Contains(out, "2,ready,") {
		t.Error(out)
	}
	said(exitOK, "drop", "2")

	all, err := p.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	for _, family := range all {
		for _, m := range family.GetMetric() {
			switch family.GetName() {
			case "holdmetrics_gateway_generation_switches_total":
				served = append(served, fmt.Sprint(m.GetCounter().GetValue()))
			case "holdmetrics_gateway_generation_info":
				for _, l := range m.GetLabel() {
					served = append(served, l.GetName()+"="+l.GetValue())
				}
			}
		}
	}
	if want := []string{"generation=1", "rules=none", "4"}; !slices.Equal(served, want) {
		t.Errorf("metrics %q, want %q", served, want)
	}
}

// Of two that switch, the one that is overtaken fails at once, and not when its time
// to wait is over.
func TestActivateIsOvertakenAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := started(t, dir)
	nats := "nats://" + p.Broker.Address().String()
	r := openRegistry(t, nats, natstest.Operator(dir))
	d := hold.Draft{Token: "T", Holder: "h", Start: hold.StampOf(100e9), End: hold.StampOf(200e9)}
	if _, err := p.Producer.Record(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
	begin := func(args ...string) (ended <-chan string) {
		all := make(chan string, 1)
		go func() {
			var out bytes.Buffer
			code := run(t.Context(), slices.Concat(args, asOperator(dir), []string{"--nats-url", nats}), streams{in: strings.NewReader(""), out: &out, err: &out})
			all <- fmt.Sprintf("%d: %s", code, &out)
		}()
		return all
	}
	for _, name := range []string{"2", "3"} {
		if out := <-begin("rebuild", "--name", name); !strings.HasPrefix(out, "0: ") {
			t.Fatal(out)
		}
	}
	// A gateway that never gets to what it is asked for.
	if err := r.PutGateway(t.Context(), generation.GatewayState{ID: "slow", Active: "none"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	prepared := func(name string) {
		t.Helper()
		eventually(t, "it is prepared", func() error {
			if p, err := r.Prepared(t.Context()); err != nil || p.Generation != name {
				return fmt.Errorf("%+v, %v", p, err)
			}
			return nil
		})
	}
	first := begin("activate", "2", "--wait", "1h")
	prepared("2")
	second := begin("activate", "3", "--wait", "1h")
	if out := <-first; !strings.HasPrefix(out, "1: ") || !strings.Contains(out, "another switch overtook this one: generation: was changed meanwhile: somebody prepares generation 3") {
		t.Error(out)
	}
	prepared("3")
	if err := r.Activate(t.Context(), "1", "2", 1, time.Now()); err != nil {
		t.Fatal(err)
	}
	if out := <-second; !strings.HasPrefix(out, "1: ") || !strings.Contains(out, "another switch overtook this one: generation 2 is active now") || strings.Contains(out, "stays active") {
		t.Error(out)
	}
}
