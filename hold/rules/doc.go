// Package rules reads the rules of a generation from a YAML file into
// [hold.Rules]. Like package hold it is pure: text in, rules or problems out.
//
// A rules file says how holds count. All of it is optional:
//
//	policy: merge                  # of overlapping holds: merge (the default) or sum
//	ids: evm                       # 0x and 40 hex digits: in lower case. Or {holders: evm, tokens: none}
//	exclude:                       # holders that are not counted at all
//	  - "0x000000000000000000000000000000000000dEaD"
//	  - match: "pool-*"
//	tokens:
//	  - token: GOLD                # this id, to the letter
//	    policy: sum                # else the one above
//	    multiplier: 2.5            # of the score, not of the time held; below 10^6, up to 6 digits after the point
//	    season: {from: 2026-01-01, to: 2026-07-01T00:00:00Z}   # either may be left out
//	    shortest_run: 7d           # what was held without a gap for less does not count
//	    boosts:
//	      by: run                  # how long the pair was held without a gap (the default), or hold: each hold alone
//	      steps:
//	        - {after: 30d, factor: 1.5}
//	        - {after: 90d, factor: 2}
//	    hold_ids: required         # events must carry a hold_id; else optional
//	  - match: "LP-*"              # * is any text, ? any one character, \ takes the next one as it stands
//	    multiplier: 0.5
//
// One rule counts for a token, alone: nothing is inherited from another. A rule
// with its exact id comes first, wherever it stands; else the first one in the
// file whose pattern matches; else the default, which is the policy and nothing
// more. A last `match: "*"` so gives all other tokens a rule.
//
// Ids are compared after they were normalised, those of the file too. The log keeps
// them as they were sent.
// What each setting does to a score is told at [hold.Rule].
//
// Numbers are read as decimals, never as floats. Times are RFC 3339 or a date,
// which is its midnight in UTC. Lengths of time are whole numbers of w, d, h, m,
// s, ms, us and ns, from the longest to the shortest: 7d, 1d12h.
//
// # Versions
//
// What a file means has one canonical text ([Rules.Text]), which is a rules file
// again. The version of the rules is the first 12 hexadecimal digits of its
// SHA-256. So comments, the order of keys, of exact tokens and of exclusions,
// and other ways to say the same thing change nothing. The version
// [hold.NoRulesVersion] belongs to those who have no file.
package rules
