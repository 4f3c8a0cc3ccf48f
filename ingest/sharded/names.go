package sharded

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"
)

// Name is what the spelling of a holder means.
type Name struct {
	ID       string // the id that counts
	Nobody   bool   // it names nobody, as the zero address does
	Excluded bool   // it does not count
}

// names is the holders of a shard: each spelling once, and what it means.
type names struct {
	slots []slot
	all   []spelled
	long  []string
}

// spelled is a spelling of a holder. Texts lie in it, so that one line of the cache has
// all that a look-up reads.
type spelled struct {
	short   [shortText]byte
	size    uint8  // of the text in short; longText: it is in the list of long ones, at the index in short
	skipped bool   // of an id: it is excluded
	meaning uint32 // the index of the id that counts, or nobody
	first   uint32 // of an id: 1 + its first pair
}

const (
	shortText = 54
	longText  = 255
)

// text returns the text of an index. It is valid until another one is inserted.
func (n *names) text(i uint32) string {
	s := &n.all[i]
	if s.size == longText {
		return n.long[binary.LittleEndian.Uint32(s.short[:])]
	}
	return unsafe.String(&s.short[0], s.size)
}

// slot is a place of the hash table.
type slot struct {
	hash  uint64
	index uint32 // 1 + the index of a text; 0: empty
}

// nobody is the meaning of what names no holder.
const nobody = 1<<32 - 1

// guess returns 1 + the index of a text of that hash, or 0. It does not look at the text,
// so that the processor does not wait for it.
func (n *names) guess(hash uint64) uint32 {
	if len(n.slots) == 0 {
		return 0
	}
	mask := uint64(len(n.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if s := &n.slots[i]; s.index == 0 || s.hash == hash {
			return s.index
		}
	}
}

// find returns the index of a text, or false.
func (n *names) find(hash uint64, text []byte) (uint32, bool) {
	if len(n.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(n.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := &n.slots[i]
		if s.index == 0 {
			return 0, false
		}
		if s.hash == hash && n.text(s.index-1) == string(text) {
			return s.index - 1, true
		}
	}
}

// insert adds a text that is not there. The text is copied.
func (n *names) insert(hash uint64, text string) uint32 {
	i := uint32(len(n.all))
	if 2*(len(n.all)+1) > len(n.slots) {
		old := n.slots
		n.slots = make([]slot, max(64, 2*len(old)))
		for _, s := range old {
			if s.index != 0 {
				n.place(s)
			}
		}
	}
	s := spelled{meaning: i, size: uint8(len(text))}
	if len(text) <= shortText {
		copy(s.short[:], text)
	} else {
		s.size = longText
		binary.LittleEndian.PutUint32(s.short[:], uint32(len(n.long)))
		n.long = append(n.long, strings.Clone(text))
	}
	n.all = append(n.all, s)
	n.place(slot{hash, i + 1})
	return i
}

func (n *names) place(s slot) {
	mask := uint64(len(n.slots) - 1)
	i := s.hash & mask
	for n.slots[i].index != 0 {
		i = (i + 1) & mask
	}
	n.slots[i] = s
}

// meant returns the index of the id that a spelling means, or nobody. holder says so of a
// spelling that is new.
func (n *names) meant(seed, hash uint64, text []byte, holder func(string) (Name, error)) (uint32, error) {
	if i, ok := n.find(hash, text); ok {
		return n.all[i].meaning, nil
	}
	name, err := holder(string(text))
	if err != nil {
		return 0, err
	}
	i := n.insert(hash, string(text))
	switch {
	case name.Nobody:
		n.all[i].meaning = nobody
		return nobody, nil
	case name.ID == n.text(i):
		n.all[i].skipped = name.Excluded
		return i, nil
	}
	of := hashOf(seed, name.ID)
	if of>>(64-ShardBits) != hash>>(64-ShardBits) {
		return 0, fmt.Errorf("%w: an id and its meaning are in two shards", ErrPlain)
	}
	id, ok := n.find(of, []byte(name.ID))
	if !ok {
		id = n.insert(of, name.ID)
		n.all[id].skipped = name.Excluded
	}
	n.all[i].meaning = id
	return id, nil
}
