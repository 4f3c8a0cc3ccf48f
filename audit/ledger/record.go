// Package ledger says what the copy of a log in immudb is made of, and writes it.
//
//	holdmetrics:log                          which log it is
//	holdmetrics:frame:<position>             a message: time, partition, SHA-256, link to the one before
//	holdmetrics:event:<position>:<index>     an event of it, readable
//	holdmetrics:state:<rules>:<partition>:<position>   SHA-256 over the state of a partition
//	holdmetrics:position                     how far the copy is
//
// Values are JSON. Numbers in keys have leading zeros, so that keys sort by them. A key
// always gets the same value, so what is written twice after a crash does no harm.
package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"holdmetrics/audit/immu"
	"holdmetrics/audit/replay"
	"holdmetrics/audit/source"
	"holdmetrics/ingest"
	"holdmetrics/ingest/archive"
	"holdmetrics/ingest/proof"
)

// The keys.
const (
	prefix      = "holdmetrics:"
	LogKey      = prefix + "log"
	PositionKey = prefix + "position"
	framePrefix = prefix + "frame:"
	eventPrefix = prefix + "event:"
	statePrefix = prefix + "state:"
)

const version = 1

// LogRecord says which log a copy is of.
type LogRecord struct {
	Version    int    `json:"holdmetrics_audit"`
	LogID      string `json:"log_id"`
	Partitions int    `json:"partitions"`
}

// PositionRecord says which part of the log the copy has.
type PositionRecord struct {
	From    uint64 `json:"from"`
	Through uint64 `json:"through"`
}

// FrameRecord is a message of the log.
type FrameRecord struct {
	Position  uint64    `json:"position"`
	Time      time.Time `json:"time"`
	Partition int       `json:"partition"`
	JSON      bool      `json:"json,omitempty"`
	Lost      bool      `json:"lost,omitempty"`
	Events    int       `json:"events"`
	SHA256    string    `json:"sha256,omitempty"` // of the bytes of the message
	Leaf      string    `json:"leaf"`             // hash of the leaf in the Merkle tree of the log
	Previous  string    `json:"previous"`         // leaf of the message before; empty: it is the first
}

// StateRecord is the hash over the state of a partition.
type StateRecord struct {
	Partition int    `json:"partition"`
	Position  uint64 `json:"position"` // of the last message that was applied
	Rules     string `json:"rules"`    // their version
	SHA256    string `json:"sha256"`
	Holders   int    `json:"holders"`
	Pairs     int    `json:"pairs"`
}

// pad appends a number with leading zeros.
func pad(b []byte, n uint64, digits int) []byte {
	var text [20]byte
	for i := digits - 1; i >= 0; i-- {
		text[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, text[:digits]...)
}

// The digits of numbers in keys.
const (
	positionDigits  = 20
	indexDigits     = 6
	partitionDigits = 4
)

// FrameKey is the key of a message.
func FrameKey(position uint64) []byte {
	return pad(append(make([]byte, 0, len(framePrefix)+positionDigits), framePrefix...), position, positionDigits)
}

// EventKey is the key of an event.
func EventKey(position uint64, index int) []byte {
	b := append(make([]byte, 0, len(eventPrefix)+positionDigits+1+indexDigits), eventPrefix...)
	return pad(append(pad(b, position, positionDigits), ':'), uint64(index), indexDigits)
}

// StateKey is the key of a state.
func StateKey(rules string, partition int, position uint64) []byte {
	b := append([]byte(statePrefix), rules+":"...)
	return pad(append(pad(b, uint64(partition), partitionDigits), ':'), position, positionDigits)
}

// Kind is what a key names.
type Kind int

// The kinds of keys.
const (
	Foreign Kind = iota // none of ours
	OfLog
	OfPosition
	OfFrame
	OfEvent
	OfState
)

// Key is a key that was read.
type Key struct {
	Kind     Kind
	Position uint64
	Index    int // of an event
}

// ParseKey reads a key.
func ParseKey(key []byte) Key {
	text := string(key)
	switch {
	case text == LogKey:
		return Key{Kind: OfLog}
	case text == PositionKey:
		return Key{Kind: OfPosition}
	case strings.HasPrefix(text, framePrefix):
		if n, err := strconv.ParseUint(text[len(framePrefix):], 10, 64); err == nil && bytes.Equal(FrameKey(n), key) {
			return Key{Kind: OfFrame, Position: n}
		}
	case strings.HasPrefix(text, eventPrefix):
		position, index, _ := strings.Cut(text[len(eventPrefix):], ":")
		n, err1 := strconv.ParseUint(position, 10, 64)
		i, err2 := strconv.Atoi(index)
		if err1 == nil && err2 == nil && bytes.Equal(EventKey(n, i), key) {
			return Key{Kind: OfEvent, Position: n, Index: i}
		}
	case strings.HasPrefix(text, statePrefix):
		return Key{Kind: OfState}
	}
	return Key{}
}

func hexOf(h [sha256.Size]byte) string { return hex.EncodeToString(h[:]) }

// Message returns what the copy has of a message: the frame, then its events. before is
// the leaf of the message before.
func Message(log source.Log, m *ingest.Message, before string) (pairs []immu.Pair, leaf string, err error) {
	l := proof.LeafOf(m)
	leaf = hexOf(l.Hash())
	pairs = append(make([]immu.Pair, 0, 16), immu.Pair{Key: FrameKey(m.Position)})
	for e := range m.Entries() {
		pairs = append(pairs, immu.Pair{Key: EventKey(m.Position, len(pairs)-1), Value: event(log, m, &e)})
	}
	pairs[0].Value, err = json.Marshal(FrameRecord{
		Position: m.Position, Time: time.Unix(0, m.Time).UTC(), Partition: m.Partition, JSON: m.JSON,
		Events: len(pairs) - 1, SHA256: hexOf(l.Sum), Leaf: leaf, Previous: before,
	})
	return pairs, leaf, err
}

// Lost returns what the copy has of a position that was accepted as lost.
func Lost(position uint64, before string) (pairs []immu.Pair, leaf string, err error) {
	l := proof.Leaf{Position: position, Lost: true}
	leaf = hexOf(l.Hash())
	value, err := json.Marshal(FrameRecord{Position: position, Time: time.Unix(0, 0).UTC(), Lost: true, Leaf: leaf, Previous: before})
	return []immu.Pair{{Key: FrameKey(position), Value: value}}, leaf, err
}

// eventBytes is how long the record of an event is, mostly.
const eventBytes = 384

// event is an event as it stands in the log, and whether it was refused.
func event(log source.Log, m *ingest.Message, e *ingest.Entry) []byte {
	b := append(make([]byte, 0, eventBytes), `{"position":`...)
	b = strconv.AppendUint(b, m.Position, 10)
	b = strconv.AppendInt(append(b, `,"index":`...), int64(e.Index), 10)
	if e.Err == nil {
		b = archive.AppendEvent(append(b, `,"event":`...), &e.Draft)
	}
	// Not every event can be said in words; the hash is of its bytes.
	sum := sha256.Sum256(e.Data)
	b = append(hex.AppendEncode(append(b, `,"sha256":"`...), sum[:]), '"')
	if _, err := replay.Judge(log, m, e); err != nil {
		b = append(b, `,"refused":true`...)
	}
	return append(b, '}')
}

// State returns what the copy has of the state of a partition.
func State(r *replay.Replay, rules string, partition int, position uint64) (immu.Pair, error) {
	s := r.State(partition)
	value, err := json.Marshal(StateRecord{Partition: partition, Position: position, Rules: rules, SHA256: hexOf(s.Sum), Holders: s.Holders, Pairs: s.Pairs})
	return immu.Pair{Key: StateKey(rules, partition, position), Value: value}, err
}
