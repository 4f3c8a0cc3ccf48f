package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Scope is a set of what a principal may do. No scope includes another one.
type Scope uint8

// The scopes.
const (
	Write Scope = 1 << iota // send events
	Read                    // read figures, rankings, watches and the status
	Admin                   // see the metrics of the server
)

// scopeNames are the scopes by their names, in the order in which they are printed.
var scopeNames = []struct {
	name  string
	scope Scope
}{{"write", Write}, {"read", Read}, {"admin", Admin}}

// ErrScope means that a word is not the name of a scope.
var ErrScope = errors.New("is not a scope: write, read or admin")

// Has reports whether s has all of other.
func (s Scope) Has(other Scope) bool { return s&other == other }

// Names returns the names of the scopes in s.
func (s Scope) Names() []string {
	var names []string
	for _, n := range scopeNames {
		if s.Has(n.scope) {
			names = append(names, n.name)
		}
	}
	return names
}

// String returns the names of the scopes with commas, or "none".
func (s Scope) String() string {
	if s == 0 {
		return "none"
	}
	return strings.Join(s.Names(), ",")
}

// ParseScopes returns the set of some names. Its errors match [ErrScope].
func ParseScopes(names []string) (s Scope, err error) {
	for _, name := range names {
		i := slices.IndexFunc(scopeNames, func(n struct {
			name  string
			scope Scope
		}) bool {
			return n.name == name
		})
		if i < 0 {
			return 0, fmt.Errorf("%q %w", name, ErrScope)
		}
		s |= scopeNames[i].scope
	}
	return s, nil
}

// KnownScopes returns the set of those names that are scopes. Issuers of tokens know
// scopes of other services, too.
func KnownScopes(names []string) (s Scope) {
	for _, n := range scopeNames {
		if slices.Contains(names, n.name) {
			s |= n.scope
		}
	}
	return s
}
