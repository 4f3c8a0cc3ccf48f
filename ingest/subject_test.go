package ingest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"holdmetrics/internal/natstest"

	"github.com/nats-io/nats.go"
)

func TestSubjectToken(t *testing.T) {
	t.Parallel()
	for holder, want := range map[string]string{
		"alice":      "alice",
		"0xAb_9-z":   "0xAb_9-z",
		"a.b":        "=YS5i",
		"*":          "=Kg",
		">":          "=Pg",
		"=":          "=PQ",
		"a b":        "=YSBi",
		"":           "=",
		"jörg":       "=asO2cmc",
		"\xff\xfe\n": "=__4K",
	} {
		if got := SubjectToken(holder); got != want {
			t.Errorf("SubjectToken(%q) = %q, want %q", holder, got, want)
		}
		if got, err := HolderOf(want); err != nil || got != holder {
			t.Errorf("HolderOf(%q) = %q, %v, want %q", want, got, err, holder)
		}
	}
}

func TestHolderOfRefuses(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]string{
		"empty":            "",
		"dot":              "a.b",
		"padding":          "=YS5i=",
		"other alphabet":   "=//4K",
		"trailing bits":    "=Kh",
		"line break":       "=YS\n5i",
		"plain behind =":   "=YWxpY2U",
		"no character":     "=Y",
		"space":            "a b",
		"unicode unquoted": "jörg",
	} {
		if got, err := HolderOf(token); !errors.Is(err, ErrSubjectToken) {
			t.Errorf("%s: HolderOf(%q) = %q, %v, want ErrSubjectToken", name, token, got, err)
		}
	}
}

// Case moves no holder between the partitions of a number that divides 32, and does
// between those of every other.
func TestCaseKeepsPartition(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for partitions := range 65 {
		moved := 0
		for range 500 {
			id := make([]byte, 1+r.IntN(60))
			for i := range id {
				id[i] = letters[r.IntN(len(letters))]
			}
			if Partition(string(id), partitions) != Partition(strings.ToLower(string(id)), partitions) {
				moved++
			}
		}
		if CaseKeepsPartition(partitions) != (moved == 0) {
			t.Errorf("%d partitions: it is said that case keeps holders: %v; %d of 500 were moved", partitions, CaseKeepsPartition(partitions), moved)
		}
	}
}

func TestPartitionDoesNotAllocate(t *testing.T) {
	long := strings.Repeat("ü", 128)
	if n := allocations(func() { Partition(long, 16); Partition("alice", 16) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestPartitionIsTheServers publishes to the raw subject, where the server
// computes the partition, and compares.
func TestPartitionIsTheServers(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 7, 16} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			t.Parallel()
			l, err := OpenLog(t.Context(), connect(t, natstest.Start(t)), LogConfig{Partitions: partitions})
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(1, uint64(partitions)))
			for _, holder := range holders(random, 400) {
				ack, err := l.js.PublishMsg(t.Context(), &nats.Msg{Subject: RawSubject(holder), Data: []byte(holder)})
				if err != nil {
					t.Fatalf("%q: %v", holder, err)
				}
				m, err := l.events.GetMsg(t.Context(), ack.Sequence)
				if err != nil {
					t.Fatal(err)
				}
				if want := LogSubject(Partition(holder, partitions)); m.Subject != want || string(m.Data) != holder {
					t.Errorf("holder %q: the server stores it under %s, we say %s", holder, m.Subject, want)
				}
			}
		})
	}
}

// holders are random ids of all kinds, and ids that are known to be difficult.
func holders(r *rand.Rand, n int) []string {
	all := []string{"a", "=", "*", ">", ".", "a.b.c", " ", "a b", "=alice", "_", "-", "日本語", "🪙", "a\x00b", "\xff",
		strings.Repeat("x", 256), strings.Repeat(".", 256), strings.Repeat("é", 128), strings.Repeat("\xff", 255)}
	alphabets := []string{base64URL, "0123456789abcdef", " .*>=+/$", "äöü日本語🪙ab"}
	for len(all) < n {
		letters := []rune(alphabets[r.IntN(len(alphabets))])
		var b strings.Builder
		for range 1 + r.IntN(70) {
			b.WriteRune(letters[r.IntN(len(letters))])
		}
		all = append(all, b.String())
	}
	return all
}

func FuzzHolderOf(f *testing.F) {
	for _, s := range []string{"", "=", "alice", "=YS5i", "=Kh", "=YWxpY2U", "a.b", "=__4K", "=YS\n5i"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if holder, err := HolderOf(s); err == nil && SubjectToken(holder) != s {
			t.Errorf("token %q is holder %q, whose token is %q", s, holder, SubjectToken(holder))
		}
		token := SubjectToken(s)
		if token == "" || strings.ContainsAny(token, ".*> \t\r\n") {
			t.Errorf("%q is no subject token", token)
		}
		if back, err := HolderOf(token); err != nil || back != s {
			t.Errorf("holder %q comes back as %q, %v", s, back, err)
		}
		h := uint32(fnvOffset32)
		for _, c := range []byte(token) {
			h = (h ^ uint32(c)) * fnvPrime32
		}
		if got, want := Partition(s, 16), int(h%16); got != want {
			t.Errorf("partition %d, want %d", got, want)
		}
	})
}

func TestPartitionOf(t *testing.T) {
	t.Parallel()
	for _, p := range []int{0, 7, 15, 1023} {
		if got, err := PartitionOf(LogSubject(p)); err != nil || got != p {
			t.Errorf("%d: %d, %v", p, got, err)
		}
	}
	for _, s := range []string{"", "hold.log.", "hold.log.-1", "hold.log.07", "hold.log.x", "hold.events.7", "hold.log.1.2"} {
		if _, err := PartitionOf(s); !errors.Is(err, ErrSubjectToken) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
