package sharded

import (
	"errors"
	"hash/maphash"
	"sync"

	"holdmetrics/hold"
)

// ErrPlain means that rows need more than this package does, or that one of them is bad.
var ErrPlain = errors.New("the rows have to be read one by one")

// errFollow means that holds of a pair do not follow one another, so that sums cannot
// answer.
var errFollow = errors.New("the holds of a pair do not follow one another")

// Follows reports whether an error of [Set.Read] has another cause than holds that do
// not follow one another. If it is false, a set that keeps rows can read the files.
func Follows(err error) bool { return !errors.Is(err, errFollow) }

// Terms are what is asked about the pairs of files, and by which rules.
type Terms struct {
	// Question is about every pair. If At is [hold.MaxTime], [Set.Finish] may still name an
	// earlier instant.
	Question hold.Question
	// AtLast asks for the live amounts as of the last row, whatever Question.At is. A set
	// does not look at it.
	AtLast bool
	Rules  hold.Rules
	// Now and Limits are those of [hold.Draft.Check].
	Now    int64
	Limits hold.Limits
	Cores  int // goroutines; at least 1
	// BlockBytes is about how long the blocks are that files are cut into; 0: long enough
	// to be read fast.
	BlockBytes int
}

// Config is how a set counts.
type Config struct {
	Terms
	// Holder returns the meaning of a spelling that is new to its shard. It is called
	// concurrently. Its id and the spelling may differ in the case of ASCII letters, and in
	// a leading \ of an address, which means 0.
	Holder func(spelling string) (Name, error)
	// KeepRows has the set keep rows instead of sums. Moves are not possible then.
	KeepRows bool
	// KeepMoves has the set keep moves until [Set.Finish], which sorts those of each pair by
	// their times. Without it, the moves of a pair must come in the order of time.
	KeepMoves bool
}

// Set is the pairs of files. Its methods are not safe for concurrent use, except
// [Set.Token] and [Set.Answer].
type Set struct {
	config Config
	seed   uint64
	shards [Shards]shard

	mu     sync.Mutex
	tokens []token
	byID   map[string]uint32
}

// token is what is known of a token.
type token struct {
	id   string
	rule *hold.Rule
}

// New returns an empty set.
func New(c Config) *Set {
	s := &Set{config: c, seed: maphash.Comparable(maphash.MakeSeed(), 0), byID: map[string]uint32{}}
	for i := range s.shards {
		s.shards[i].set = s
	}
	return s
}

// Token returns the number of a token, by its normalised id. The id is kept. It is safe
// for concurrent use.
func (s *Set) Token(id string) (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.byID[id]; ok {
		return i, nil
	}
	r := s.config.Rules.Of(id)
	if r.NeedsID {
		return 0, ErrPlain // events without a hold_id are bad
	}
	if !s.config.KeepRows && !r.Closed() {
		return 0, errFollow
	}
	i := uint32(len(s.tokens))
	s.tokens = append(s.tokens, token{id: id, rule: r})
	s.byID[id] = i
	return i, nil
}

// Tokens returns the ids of the tokens, in no order.
func (s *Set) Tokens() []string {
	ids := make([]string, len(s.tokens))
	for i := range s.tokens {
		ids[i] = s.tokens[i].id
	}
	return ids
}

// Holders calls f with the id of each holder that a row names, counted or not, in no
// order.
func (s *Set) Holders(f func(id string)) {
	for i := range s.shards {
		n := &s.shards[i].names
		for j := range n.all {
			if n.all[j].meaning == uint32(j) {
				f(n.text(uint32(j)))
			}
		}
	}
}

// Pair is a pair of the set.
type Pair struct {
	Holder, Token string

	token       uint32
	shard, pair uint32
}

// Rule is the rule that the pair counts by.
func (s *Set) Rule(p *Pair) *hold.Rule { return s.tokens[p.token].rule }

// Pairs returns the pairs that count, by holder, then token.
func (s *Set) Pairs() []Pair {
	parts := make([][]Pair, s.config.Cores)
	each(s.config.Cores, s.config.Cores, func(_, part int) error {
		var list []Pair
		for i := part; i < Shards; i += s.config.Cores {
			list = s.shards[i].appendPairs(list, uint32(i))
		}
		sortPairs(list)
		parts[part] = list
		return nil
	})
	for len(parts) > 1 {
		half := len(parts) / 2
		for i := range half {
			parts[i] = mergePairs(parts[i], parts[len(parts)-1-i])
		}
		parts = parts[:len(parts)-half]
	}
	return parts[0]
}

// Answer returns the answer of a pair to the question of the set, after [Set.Finish]. It is
// safe for concurrent use.
func (s *Set) Answer(p *Pair) hold.Answer {
	return s.shards[p.shard].answer(&s.config.Question, p.pair)
}
