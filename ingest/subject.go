package ingest

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// RawSubjectPrefix is what a raw producer puts before a holder's subject token:
// it publishes one event a message to RawSubjectPrefix + SubjectToken(holder).
const RawSubjectPrefix = "hold.events."

// logSubjectPrefix is followed by the number of a partition.
const logSubjectPrefix = "hold.log."

const (
	fnvOffset32 = 2166136261
	fnvPrime32  = 16777619

	base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

// strictBase64 refuses padding and trailing bits, so that a token has one spelling only.
var strictBase64 = base64.RawURLEncoding.Strict()

// SubjectToken returns the one NATS subject token that stands for a holder: the
// holder itself where it is made of [A-Za-z0-9_-] alone, else "=" followed by its
// unpadded base64url. Different holders have different tokens, whatever bytes
// they are made of; the empty holder, which no event may carry, is "=".
func SubjectToken(holder string) string {
	if plain(holder) {
		return holder
	}
	buf := make([]byte, 1+base64.RawURLEncoding.EncodedLen(len(holder)))
	buf[0] = '='
	base64.RawURLEncoding.Encode(buf[1:], []byte(holder))
	return string(buf)
}

// HolderOf is the inverse of SubjectToken. A token that SubjectToken never
// returns is an error that matches ErrSubjectToken, so that no holder hides
// behind two tokens.
func HolderOf(token string) (string, error) {
	if plain(token) {
		return token, nil
	}
	if token == "" || token[0] != '=' {
		return "", fmt.Errorf("%w: %q", ErrSubjectToken, clip(token))
	}
	holder, err := strictBase64.DecodeString(token[1:])
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrSubjectToken, clip(token), err)
	}
	// The decoder skips line breaks, and a plain holder has no business behind "=".
	if SubjectToken(string(holder)) != token {
		return "", fmt.Errorf("%w: %q is not the canonical form", ErrSubjectToken, clip(token))
	}
	return string(holder), nil
}

// PartitionOfToken is Partition for the subject token of a holder.
func PartitionOfToken(token string, partitions int) int {
	if partitions < 1 {
		return 0
	}
	h := uint32(fnvOffset32)
	for i := 0; i < len(token); i++ {
		h = (h ^ uint32(token[i])) * fnvPrime32
	}
	return int(h % uint32(partitions))
}

// Partition returns the partition of a holder, 0 to partitions-1: FNV-1a 32 of
// its subject token, mod partitions. It is what the server's partition() computes
// from a raw subject, so both ways in lead to the same partition. It does not
// allocate. With fewer than one partition the answer is 0, as the server's is.
func Partition(holder string, partitions int) int {
	if partitions < 1 {
		return 0
	}
	h := uint32(fnvOffset32)
	if plain(holder) {
		for i := 0; i < len(holder); i++ {
			h = (h ^ uint32(holder[i])) * fnvPrime32
		}
	} else {
		h = hashEncoded(h, holder)
	}
	return int(h % uint32(partitions))
}

// CaseKeepsPartition reports whether holders that are their own subject token, and
// differ in the case of letters alone, are of one partition: it is so where the
// number of partitions divides 32.
//
// The hash goes on by an exclusive or and a multiplication mod 2^32, and in both the
// low 5 bits of what comes out depend on the low 5 bits of what goes in alone. The
// case of a letter is bit 5, so the low 5 bits of the hash, from 0 to 31, do not see
// it. Of base64 this does not hold: a byte is spread over two characters there.
func CaseKeepsPartition(partitions int) bool {
	return partitions < 1 || 32%partitions == 0
}

// hashEncoded hashes "=" and the base64url of s, three bytes at a time, so that
// the token itself is never built.
func hashEncoded(h uint32, s string) uint32 {
	h = (h ^ '=') * fnvPrime32
	for len(s) > 0 {
		var group uint32
		n := min(len(s), 3)
		for i := range n {
			group |= uint32(s[i]) << (16 - 8*i)
		}
		for i := 0; i <= n; i++ { // n bytes make n+1 characters
			h = (h ^ uint32(base64URL[group>>(18-6*i)&63])) * fnvPrime32
		}
		s = s[n:]
	}
	return h
}

// LogSubject returns the subject under which the log stores a partition.
func LogSubject(partition int) string {
	return logSubjectPrefix + strconv.Itoa(partition)
}

// PartitionOf is the inverse of LogSubject. A subject that LogSubject never
// returns is an error that matches ErrSubjectToken.
func PartitionOf(subject string) (int, error) {
	number, ok := strings.CutPrefix(subject, logSubjectPrefix)
	p, err := strconv.Atoi(number)
	if !ok || err != nil || p < 0 || strconv.Itoa(p) != number {
		return 0, fmt.Errorf("%w: %q is no partition of the log", ErrSubjectToken, clip(subject))
	}
	return p, nil
}

// RawSubject returns the subject to which a raw producer publishes an event of a holder.
func RawSubject(holder string) string {
	return RawSubjectPrefix + SubjectToken(holder)
}

// plain reports whether s is not empty and made of [A-Za-z0-9_-] alone.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != ""
}

// clip shortens what came from outside before it goes into an error text.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
