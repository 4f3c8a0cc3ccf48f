package load

import (
	"fmt"

	"holdmetrics/hold"
)

const (
	// EventBase is when the first holds start, in seconds: 2010-01-01. Rounds of
	// holders follow each other by EventStep seconds, so millions of rounds fit
	// before the present.
	EventBase = 1_262_304_000
	EventStep = 10 // seconds between two rounds

	eventTokens = 16
)

// strides visit the holders of a round in scattered order; each is coprime to
// any number of holders that has only 2 and 5 as factors.
var strides = [...]int{7919, 104_729, 15_485_863}

// Source makes ended holds, all different, without end. Each round has one event
// of each holder; a holder has one token, and its holds follow one another. It is
// not safe for concurrent use: several sources share the holders (newSource).
type Source struct {
	holders []string
	tokens  []string
	at      int // within the round
	round   int
}

// NewSource is the share of worker w of n of so many holders. The number of
// holders has only 2 and 5 as factors and is a multiple of n.
func NewSource(w, n, holders int) *Source {
	s := &Source{holders: make([]string, 0, holders/n), tokens: make([]string, eventTokens)}
	for i := w; i < holders; i += n {
		s.holders = append(s.holders, HolderName(i))
	}
	for i := range s.tokens {
		s.tokens[i] = fmt.Sprintf("token-%02d", i)
	}
	return s
}

// HolderName returns the name of holder number i. Names sort in a scattered order.
func HolderName(i int) string { return fmt.Sprintf("0x%08x%032x", uint32(i)*2_654_435_761, i) }

// Next fills d with the next event: a hold of five seconds.
func (s *Source) Next(d *hold.Draft) {
	n := len(s.holders)
	k := s.at * strides[s.round%len(strides)] % n
	start := int64(EventBase) + int64(s.round)*EventStep
	*d = hold.Draft{
		Token:  s.tokens[k%eventTokens],
		Holder: s.holders[k],
		Start:  hold.Stamp{Seconds: start, Set: true},
		End:    hold.Stamp{Seconds: start + 5, Set: true},
		Weight: 1 + float64(k%8)/2,
	}
	if s.at++; s.at == n {
		s.at, s.round = 0, s.round+1
	}
}

// fill fills all drafts.
func (s *Source) fill(drafts []hold.Draft) {
	for i := range drafts {
		s.Next(&drafts[i])
	}
}
