package gateway

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"holdmetrics/gateway/intake"
)

// TokenLabels says which tokens hold_events_total counts by themselves. The zero value
// means none, and the counter has no label token then.
type TokenLabels struct {
	// Names are the tokens, as clients send them.
	Names []string
	// Most is how many further tokens get a label, those that come first.
	Most int
}

func (l *TokenLabels) any() bool { return len(l.Names) > 0 || l.Most > 0 }

// tokenCounter counts accepted events by token. The number of its labels is bounded: the
// events of tokens that find no label left count as those of the token "", which no token
// is called. It is safe for concurrent use.
type tokenCounter struct {
	events *prometheus.CounterVec
	others prometheus.Counter

	mu    sync.RWMutex
	slots map[string]int
	by    []prometheus.Counter // by slot, less one
	most  int
}

func newTokenCounter(events *prometheus.CounterVec, l TokenLabels) *tokenCounter {
	t := &tokenCounter{events: events, others: events.WithLabelValues(""), slots: map[string]int{}, most: len(l.Names) + l.Most}
	for _, name := range l.Names {
		t.slot(name)
	}
	return t
}

// Label implements [intake.Tokens]. A name is kept only while there are labels left, so
// that hostile names cost nothing.
func (t *tokenCounter) Label(token string) intake.TokenLabel {
	t.mu.RLock()
	defer t.mu.RUnlock()
	switch slot, known := t.slots[token]; {
	case known:
		return intake.TokenLabel{Slot: slot}
	case len(t.by) < t.most:
		return intake.TokenLabel{Name: strings.Clone(token)}
	}
	return intake.TokenLabel{}
}

// Add implements [intake.Tokens]. A token gets its label here, when the log has an event
// of it: what is refused takes none.
func (t *tokenCounter) Add(l intake.TokenLabel, n int) {
	if l.Slot == 0 && l.Name != "" {
		t.mu.Lock()
		l.Slot = t.slot(l.Name)
		t.mu.Unlock()
	}
	if l.Slot == 0 {
		t.others.Add(float64(n))
		return
	}
	t.mu.RLock()
	counter := t.by[l.Slot-1]
	t.mu.RUnlock()
	counter.Add(float64(n))
}

// slot returns the slot of a token, or 0 if there is none left. t.mu is held, or nobody
// else knows t.
func (t *tokenCounter) slot(token string) int {
	if slot, known := t.slots[token]; known || len(t.by) == t.most {
		return slot
	}
	t.by = append(t.by, t.events.WithLabelValues(token))
	t.slots[token] = len(t.by)
	return len(t.by)
}
