package transfers

import (
	"fmt"
	"strings"

	"holdmetrics/ingest/rows"
)

// identify returns what names the log of a row, and false if the row does not say.
func (l *Ledger) identify(row []string, m *mapping) ([]byte, bool) {
	tx := cell(row, m.tx)
	if tx == "" || m.logIndex < 0 && !m.preset.unique {
		return nil, false
	}
	b := l.scratch[:0]
	if strings.HasPrefix(tx, "0x") || strings.HasPrefix(tx, "0X") {
		for i := range len(tx) {
			c := tx[i]
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
		}
	} else {
		b = append(b, tx...)
	}
	b = append(b, 0)
	if m.logIndex >= 0 {
		index := row[m.logIndex]
		if index == "" {
			return nil, false
		}
		b = appendIndex(b, index)
	}
	b = append(b, 0)
	b = appendIndex(b, cell(row, m.batch))
	l.scratch = b
	return b, true
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

// absent marks a log that was taken back, in the map of dedupe.
const absent = -1

// dedupe leaves one record of each log, and none of those that were taken back. Ids
// are normalised before. Records follow each other as they were read.
func (l *Ledger) dedupe() error {
	if l.keys == nil {
		return nil
	}
	last := make(map[identity]int32, len(l.records))
	drop := make([]bool, len(l.records))
	for i := range l.records {
		r, key := &l.records[i], l.keys[i]
		if key == (identity{}) {
			continue
		}
		j, seen := last[key]
		present := seen && j != absent
		removed := r.flags&flagRemoved != 0
		switch {
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
