package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"holdmetrics/gateway/intake"
)

// A flood of made-up tokens takes no more labels than there are, keeps nothing of their
// names, and loses no event.
func TestTokenLabelsAreBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(&Config{Registerer: registry, TokenLabels: TokenLabels{Names: []string{"GOLD"}, Most: 2}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := m.byToken()
	for i := range 5000 {
		tokens.Add(tokens.Label(fmt.Sprintf("made-up %d %s", i, strings.Repeat("x", 200))), 1)
	}
	tokens.Add(tokens.Label("GOLD"), 7)
	if n, err := testutil.GatherAndCount(registry, "hold_events_total"); n != 4 || err != nil {
		t.Errorf("%d series, %v; want GOLD, two others and the rest", n, err)
	}
	by := m.tokens
	if len(by.slots) != 3 || len(by.by) != 3 || testutil.ToFloat64(by.events.WithLabelValues("GOLD")) != 7 || testutil.ToFloat64(by.others) != 4998 {
		t.Errorf("%d names, GOLD %v, others %v", len(by.slots), testutil.ToFloat64(by.events.WithLabelValues("GOLD")), testutil.ToFloat64(by.others))
	}
}

// An event that is refused takes no label.
func TestRefusedTokensTakeNoLabel(t *testing.T) {
	t.Parallel()
	m, err := newMetrics(&Config{TokenLabels: TokenLabels{Most: 1}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := m.byToken()
	_ = tokens.Label("refused")
	first, again := tokens.Label("accepted"), tokens.Label("accepted")
	tokens.Add(first, 1)
	tokens.Add(again, 1) // both were looked up before there was a label
	if got := testutil.ToFloat64(m.tokens.events.WithLabelValues("accepted")); got != 2 {
		t.Errorf("%v events, want 2", got)
	}
}

func TestEventsAreNotCountedByTokenUnlessAskedFor(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(&Config{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	m.Event(intake.Record, nil)
	m.Accepted(intake.PostHolds, 2)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP hold_events_total Events that the log has acknowledged, however often they were sent.
# TYPE hold_events_total counter
hold_events_total 3
`), "hold_events_total"); err != nil || m.byToken() != nil {
		t.Error(err, m.byToken())
	}
}

func BenchmarkTokenLabel(b *testing.B) {
	for name, l := range map[string]TokenLabels{"known": {Names: []string{"GOLD"}}, "unknown": {Names: []string{"TIN"}}} {
		b.Run(name, func(b *testing.B) {
			m, err := newMetrics(&Config{TokenLabels: l})
			if err != nil {
				b.Fatal(err)
			}
			tokens := m.byToken()
			b.ReportAllocs()
			for b.Loop() {
				tokens.Add(tokens.Label("GOLD"), 1)
			}
		})
	}
}

// What a batch of events costs that were acknowledged.
func BenchmarkAcknowledged(b *testing.B) {
	m, err := newMetrics(&Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Acknowledged(b.Context(), intake.Broadcast, 1000)
		m.Accepted(intake.Broadcast, 512)
	}
}
