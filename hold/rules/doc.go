// Package rules reads the rules of a generation from a YAML file into
// [hold.Rules]. Like package hold it is pure: text in, rules or problems out.
//
// A rules file defines how holds count. Every key is optional:
//
//	policy: merge                  # for overlapping holds: merge (the default) or sum
//	ids: evm                       # ids of 0x and 40 hex digits become lower case. Or {holders: evm, tokens: none}
//	exclude:                       # holders that are not counted at all
//	  - "0x000000000000000000000000000000000000dEaD"
//	  - match: "pool-*"
//	tokens:
//	  - token: GOLD                # exactly this id
//	    policy: sum                # default: the policy above
//	    multiplier: 2.5            # of the score, not of held time; below 10^6, up to 6 digits after the point
//	    season: {from: 2026-01-01, to: 2026-07-01T00:00:00Z}   # either may be left out
//	    shortest_run: 7d           # shorter runs without a gap do not count
//	    boosts:
//	      by: run                  # age of the run without a gap (the default), or hold: age of each hold
//	      steps:
//	        - {after: 30d, factor: 1.5}
//	        - {after: 90d, factor: 2}
//	    hold_ids: required         # events must have a hold_id; default: optional
//	  - match: "LP-*"              # * is any text, ? is any one character, \ escapes the next character
//	    multiplier: 0.5
//
// Exactly one rule counts for a token (S8.5); nothing is inherited from another. A rule
// with the exact id comes first, wherever it is in the file. Then comes the first rule
// in the file whose pattern matches. The default is the file's policy and nothing else.
// So a last rule `match: "*"` is the rule of all other tokens.
//
// Ids are normalized before they are compared, including those of the file. The log
// keeps ids as they were sent. [hold.Rule] describes the effect of each setting on a
// score.
//
// Numbers are read as decimals, never as floats. Times are RFC 3339, or a date, which
// means its midnight in UTC. Durations are whole numbers of w, d, h, m, s, ms, us and
// ns, from the longest to the shortest: 7d, 1d12h.
//
// # Versions
//
// Rules have one canonical text ([Rules.Text]), which is itself a rules file. Their
// version is the first 12 hexadecimal digits of the SHA-256 of that text. So comments
// and the order of keys, exact tokens and exclusions do not change the version. Without
// a file the version is [hold.NoRulesVersion].
package rules
