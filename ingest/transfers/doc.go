// Package transfers makes hold events of token Transfer logs.
//
// A [Ledger] reads rows (token, from, to, value, time) in ascending time and
// keeps the balance of every pair of a token and a holder. All rows of one
// timestamp are netted first, whatever their order, so that a balance changes
// at most once in an instant. A balance b0 > 0 held since t0 that becomes b1 at
// t1 is one ended hold (t0 to t1, weight b0) and, where b1 > 0, one open hold
// (from t1, weight b1). So no hold needs an id, and reading the same rows again
// gives the same events.
//
// The zero address mints and burns and is no holder. Balances are exact.
// Memory grows with the holders, not with the rows.
package transfers
