package transfers

import (
	"errors"
	"fmt"
	"strings"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
)

// nobody is the index of the holder that mints and burns.
const nobody = 0

// names is a dictionary: every spelling once, and the id that each means.
type names struct {
	index map[string]uint32
	texts []string // by index
	means []uint32 // by index, after normalise: the index of the id that counts
}

func newNames() *names {
	n := &names{index: make(map[string]uint32)}
	n.add("") // nobody
	return n
}

// add returns the index of a text; it keeps a copy.
func (n *names) add(s string) uint32 {
	if i, ok := n.index[s]; ok {
		return i
	}
	s = strings.Clone(s)
	i := uint32(len(n.texts))
	n.index[s] = i
	n.texts = append(n.texts, s)
	return i
}

// normalise finds out which spellings are one id. It reports whether ids are
// compared as addresses.
func (n *names) normalise(way IDs, base func(string) string, isNull func(string) bool) bool {
	evm := way == IDsEVM
	if way == IDsAuto {
		seen := false
		evm = true
		for _, s := range n.texts {
			if isNull != nil && isNull(s) || s == "" {
				continue
			}
			seen = true
			if _, is := address(base(s)); !is {
				evm = false
				break
			}
		}
		evm = evm && seen
	}
	n.means = make([]uint32, len(n.texts))
	for i := 0; i < len(n.texts); i++ {
		s := n.texts[i]
		switch {
		case s == "" || isNull != nil && isNull(s):
			n.grow(i, nobody)
		case evm:
			b := base(s)
			a, is := address(b)
			if !is || a == b {
				n.grow(i, uint32(i))
				continue
			}
			n.grow(i, n.add(a+s[len(b):]))
		default:
			n.grow(i, uint32(i))
		}
	}
	return evm
}

// grow sets what the text of an index means; normalise may add texts meanwhile.
func (n *names) grow(i int, meaning uint32) {
	for len(n.means) <= i {
		n.means = append(n.means, 0)
	}
	n.means[i] = meaning
}

// check returns what keeps texts from being ids, by index; nil if nothing does.
func (n *names) check() (bad map[uint32]error) {
	for i, s := range n.texts {
		if err := checkID(s); err != nil {
			if bad == nil {
				bad = map[uint32]error{}
			}
			bad[uint32(i)] = fmt.Errorf("the id %s %w", rows.Quote(s), err)
		}
	}
	return bad
}

// address returns an address as 0x and 40 hex digits in lower case, and whether the
// text is one: 0x, 0X or \x and 40 hex digits.
func address(s string) (string, bool) {
	if len(s) != 42 || (s[0] != '0' && s[0] != '\\') || (s[1] != 'x' && s[1] != 'X') {
		return s, false
	}
	if !isHex(s[2:]) {
		return s, false
	}
	return "0x" + strings.ToLower(s[2:]), true
}

// isHex reports whether a text has hex digits alone.
func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// isNull reports whether a text names nobody: empty, null, none, or an address of
// zeros.
func isNull(s string) bool {
	switch {
	case s == "" || strings.EqualFold(s, "null") || strings.EqualFold(s, "none"):
		return true
	case len(s) > 2 && (s[0] == '0' || s[0] == '\\') && (s[1] == 'x' || s[1] == 'X'):
		return strings.Trim(s[2:], "0") == ""
	case len(s) == 40 || len(s) == 64:
		return strings.Trim(s, "0") == ""
	}
	return false
}

// nullOf returns isNull with further ids. Addresses are compared as such.
func nullOf(more []string) func(string) bool {
	also := map[string]bool{}
	for _, s := range more {
		s = rows.Trim(s)
		also[s] = true
		if a, is := address(s); is {
			also[a] = true
		}
	}
	return func(s string) bool {
		if isNull(s) {
			return true
		}
		if len(also) == 0 {
			return false
		}
		a, _ := address(s)
		return also[s] || also[a]
	}
}

// Lookalike is two ids that differ in case or in invisible characters alone, or that
// are two spellings of one address.
type Lookalike struct{ A, B string }

// Address reports whether the two differ in how an address is written, and not in case
// or invisible characters.
func (l Lookalike) Address() bool {
	return len(l.A) != len(l.B) && (len(l.A) == paddedAddress || len(l.B) == paddedAddress) ||
		strings.HasPrefix(l.A, `\`) != strings.HasPrefix(l.B, `\`)
}

// Lookalikes finds ids that a reader takes for one. The ids are different.
func Lookalikes(ids []string) (pairs []Lookalike) {
	// Of two that look alike at least one differs from its folded form.
	var seen map[string]string
	for _, id := range ids {
		if isFolded(id) {
			continue
		}
		if key := fold(id); key != id {
			if seen == nil {
				seen = make(map[string]string)
			}
			seen[key] = ""
		}
	}
	if seen == nil {
		return nil
	}
	for _, id := range ids {
		key := fold(id)
		switch first, is := seen[key]; {
		case !is:
		case first == "":
			seen[key] = id
		default:
			pairs = append(pairs, Lookalike{first, id})
		}
	}
	return pairs
}

// isFolded reports whether an id is certain to be its own folded form.
func isFolded(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' || c == '\\' {
			return false
		}
	}
	return len(s) != paddedAddress
}

// paddedAddress is how long an address is that was padded to 32 bytes, as in the topics
// of logs.
const paddedAddress = 66

// fold is an id in lower case without invisible characters. All spellings of an address
// are folded to one.
func fold(s string) string {
	if isFolded(s) {
		return s
	}
	if len(s) == paddedAddress && strings.Trim(s[2:paddedAddress-40], "0") == "" {
		if a, is := address(s[:2] + s[paddedAddress-40:]); is {
			return a
		}
	}
	if a, is := address(s); is {
		return a
	}
	return strings.ToLower(strings.Map(func(r rune) rune {
		if rows.Invisible(r) {
			return -1
		}
		return r
	}, s))
}

// Holder is an id as the ledger normalises holders, after the files were read.
func (l *Ledger) Holder(id string) string {
	id = rows.Trim(id)
	for _, s := range [2]string{id, lower(id)} {
		if i, ok := l.holders.index[s]; ok && int(i) < len(l.holders.means) {
			return l.holders.texts[l.holders.means[i]]
		}
	}
	return id
}

func lower(id string) string {
	a, _ := address(id)
	return a
}

// checkID returns what keeps a text from being an id. The empty text is nobody.
func checkID(s string) error {
	if s == "" {
		return nil
	}
	err := hold.CheckID("", s)
	if err == nil {
		err = (&hold.Draft{Token: s}).CheckStrict()
	}
	if field := (*hold.FieldError)(nil); errors.As(err, &field) {
		return field.Err
	}
	return err
}
