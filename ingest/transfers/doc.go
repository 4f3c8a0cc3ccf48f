// Package transfers turns token Transfer logs and statements of balance into hold events.
//
// A [Ledger] reads rows (token, from, to, value, time) in any order, sorts them by time,
// and computes the balance of every pair of a token and a holder. All rows of one
// timestamp are netted first, so a balance changes at most once in an instant. If a
// balance b0 > 0 held since t0 becomes b1 at t1, the ledger emits one ended hold (t0 to
// t1, weight b0) and, if b1 > 0, one open hold (from t1, weight b1). So no hold needs an
// id, and reading the same rows again gives the same events.
//
// The zero address mints and burns and is not a holder. Balances are exact. The rows
// are kept in memory.
package transfers
