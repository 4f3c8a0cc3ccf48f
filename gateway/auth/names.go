package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Names are ids that a principal is narrowed to: exact ones, and patterns in which * is
// any text. A backslash takes the next character as it stands. A nil *Names is all ids; one
// without entries is none.
type Names struct {
	texts    []string            // as they were given
	exact    map[string]struct{} // without their backslashes
	patterns [][]string          // the texts between the stars
}

// ErrNames means that a text cannot be an id or a pattern.
var ErrNames = errors.New("is not an id or a pattern such as game-*")

// Bounds of the names that a principal is narrowed to. A check takes time by their number.
const (
	MaxNames     = 1000
	maxNameBytes = 2 * 256 // an id whose bytes are all escaped
)

// ParseNames reads ids and patterns. Its errors match [ErrNames]. No text is no id: use a
// nil *Names for all.
func ParseNames(texts []string) (*Names, error) {
	if len(texts) > MaxNames {
		return nil, fmt.Errorf("%d ids and patterns are too many, and %d is the most: use patterns, or several keys", len(texts), MaxNames)
	}
	n := &Names{texts: slices.Clone(texts), exact: map[string]struct{}{}}
	for _, text := range texts {
		pieces, ok := cutPattern(text)
		if !ok {
			return nil, fmt.Errorf("%q %w", text, ErrNames)
		}
		if len(pieces) == 1 {
			n.exact[pieces[0]] = struct{}{}
		} else {
			n.patterns = append(n.patterns, pieces)
		}
	}
	return n, nil
}

// cutPattern returns the texts between the stars of a pattern.
func cutPattern(text string) (pieces []string, ok bool) {
	if text == "" || len(text) > maxNameBytes || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return nil, false
	}
	var piece strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '*':
			pieces = append(pieces, piece.String())
			piece.Reset()
		case '\\':
			if i++; i == len(text) {
				return nil, false
			}
			piece.WriteByte(text[i])
		default:
			piece.WriteByte(c)
		}
	}
	return append(pieces, piece.String()), true
}

// Texts returns the ids and patterns as they were given.
func (n *Names) Texts() []string {
	if n == nil {
		return nil
	}
	return slices.Clone(n.texts)
}

// allow reports whether an id is among the names. same is how the rules write an id: an
// exact name allows each id that is the same by the rules, and a pattern has to match the
// id as the rules write it.
func (n *Names) allow(id string, same func(string) string) bool {
	if n == nil {
		return true
	}
	id = same(id)
	if _, ok := n.exact[id]; ok {
		return true
	}
	for _, pieces := range n.patterns {
		if matches(pieces, id) {
			return true
		}
	}
	for name := range n.exact {
		if same(name) == id {
			return true
		}
	}
	return false
}

// matches reports whether an id has the pieces, with any text between them.
func matches(pieces []string, id string) bool {
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(id) < len(first)+len(last) || !strings.HasPrefix(id, first) || !strings.HasSuffix(id, last) {
		return false
	}
	id = id[len(first) : len(id)-len(last)]
	for _, piece := range pieces[1 : len(pieces)-1] {
		i := strings.Index(id, piece)
		if i < 0 {
			return false
		}
		id = id[i+len(piece):]
	}
	return true
}
