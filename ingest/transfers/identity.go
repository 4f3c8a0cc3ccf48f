package transfers

import (
	"fmt"
	"strings"

	"holdmetrics/ingest/rows"
)

// identify returns what names the log of a row, and false if the row does not say.
func (l *Ledger) identify(row []string, m *mapping) ([]byte, bool) {
	b, has := appendIdentity(l.scratch[:0], row, m)
	if has {
		l.scratch = b
	}
	return b, has
}

// appendIdentity appends what names the log of a row, and returns false if the row does
// not say.
func appendIdentity(b []byte, row []string, m *mapping) ([]byte, bool) {
	tx := cell(row, m.tx)
	if tx == "" || m.logIndex < 0 && !m.preset.unique {
		return nil, false
	}
	b = appendHash(b, tx)
	b = append(b, 0)
	if m.logIndex >= 0 {
		index := row[m.logIndex]
		if index == "" {
			return nil, false
		}
		b = appendIndex(b, index)
	}
	b = append(b, 0)
	return appendIndex(b, cell(row, m.batch)), true
}

// appendHash appends the hash of a transaction in one spelling: hex digits in lower
// case, with 0x, \x or, if they are the 64 of a hash, nothing before them. Hashes of
// other chains stay as they are.
func appendHash(b []byte, s string) []byte {
	prefixed := len(s) > 2 && (s[0] == '0' || s[0] == '\\') && (s[1] == 'x' || s[1] == 'X')
	if prefixed {
		s = s[2:]
	}
	if !prefixed && (len(s) != 64 || !isHex(s)) {
		return append(b, s...)
	}
	b = append(b, "0x"...)
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// appendIndex appends an index in one spelling: 0x7, 7.0 and 7 are one.
func appendIndex(b []byte, s string) []byte {
	if len(s) > 1 && (s[0] == '0' || strings.ContainsAny(s, ".eE+")) {
		if plain, err := tokenID(s); err == nil {
			s = plain
		}
	}
	return append(b, s...)
}

// addIdentified appends a record that has an identity: that of its row, its id and
// its place in a batch.
func (l *Ledger) addIdentified(r *record, key []byte, id string, n int) {
	if l.keys == nil {
		l.keys = make([]identity, len(l.records), max(2*len(l.records), 1024))
	}
	k := append(key, 0)
	k = append(k, id...)
	k = append(k, 0, byte(n), byte(n>>8))
	l.scratch = k
	l.records = append(l.records, *r)
	l.keys = append(l.keys, l.identifier.of(k))
}

// What the map of dedupe has for a log that is not there. Any number below is early
// minus the index of a row that removed the log before the log itself was read.
const (
	absent = -1 // it was taken back
	early  = -2
)

// dedupe leaves one record of each log, and none of those that were taken back. Ids
// are normalised before. Records follow each other as they were read.
func (l *Ledger) dedupe() error {
	if l.keys == nil {
		return nil
	}
	last := make(map[identity]int32, len(l.records))
	drop := make([]bool, len(l.records))
	var taken map[identity]bool // of early rows: their log was read
	for i := range l.records {
		r, key := &l.records[i], l.keys[i]
		if key == (identity{}) {
			continue
		}
		j, seen := last[key]
		present := seen && j >= 0
		removed := r.flags&flagRemoved != 0
		switch {
		case seen && j <= early && sameContent(r, &l.records[early-j]):
			// Files may run backwards, so this is the log that was removed.
			drop[i] = true
			switch {
			case removed || taken[key]:
				l.summary.Duplicates++
			default:
				if taken == nil {
					taken = map[identity]bool{}
				}
				taken[key] = true
				l.summary.RemovedUnseen--
				l.summary.TakenBack++
			}
		case !seen && removed:
			last[key] = int32(early - i)
			l.summary.RemovedUnseen++
			drop[i] = true
		case !present && removed:
			l.summary.RemovedUnseen++
			drop[i] = true
		case !present:
			last[key] = int32(i)
		case !sameContent(r, &l.records[j]):
			err := fmt.Errorf("%w: %s has it too", ErrIdentity, l.place(&l.records[j]))
			if bad := l.blame(r.token, l.place(r), err); bad != nil {
				return bad
			}
			_ = l.blame(l.records[j].token, l.place(r), err) // as above
			drop[i] = true
		case removed:
			l.summary.TakenBack++
			drop[i], drop[j] = true, true
			last[key] = absent
		default:
			l.summary.Duplicates++
			drop[i] = true
		}
	}
	kept := l.records[:0]
	for i := range l.records {
		if !drop[i] {
			kept = append(kept, l.records[i])
		}
	}
	l.records, l.keys = kept, nil
	return nil
}

func sameContent(a, b *record) bool {
	return a.at == b.at && a.token == b.token && a.from == b.from && a.to == b.to && a.value == b.value &&
		a.flags&^flagRemoved == b.flags&^flagRemoved
}

// place is where a record stands.
func (l *Ledger) place(r *record) rows.Place {
	if r.file == 0 {
		return rows.Place{File: openingName}
	}
	return rows.Place{File: l.files[r.file-1], Line: int(r.line)}
}
