package sharded

import (
	"fmt"
	"strings"
)

// Name is what the spelling of a holder means.
type Name struct {
	ID       string // the id that counts
	Nobody   bool   // it names nobody, as the zero address does
	Excluded bool   // it does not count
}

// names is the holders of a shard: each spelling once, and what it means.
type names struct {
	slots   []slot
	texts   []string
	meaning []uint32 // by index: the index of the id that counts, or nobody
	skipped []bool   // by index: it is excluded
}

// slot is a place of the hash table.
type slot struct {
	hash  uint64
	index uint32 // 1 + the index of a text; 0: empty
}

// nobody is the meaning of what names no holder.
const nobody = 1<<32 - 1

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
		if s.hash == hash && n.texts[s.index-1] == string(text) {
			return s.index - 1, true
		}
	}
}

// insert adds a text that is not there. The text is copied.
func (n *names) insert(hash uint64, text string) uint32 {
	if 2*(len(n.texts)+1) > len(n.slots) {
		old := n.slots
		n.slots = make([]slot, max(64, 2*len(old)))
		for _, s := range old {
			if s.index != 0 {
				n.place(s)
			}
		}
	}
	n.texts = append(n.texts, strings.Clone(text))
	n.meaning = append(n.meaning, uint32(len(n.texts)-1))
	n.skipped = append(n.skipped, false)
	n.place(slot{hash, uint32(len(n.texts))})
	return uint32(len(n.texts) - 1)
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
		return n.meaning[i], nil
	}
	name, err := holder(string(text))
	if err != nil {
		return 0, err
	}
	i := n.insert(hash, string(text))
	switch {
	case name.Nobody:
		n.meaning[i] = nobody
		return nobody, nil
	case name.ID == n.texts[i]:
		n.skipped[i] = name.Excluded
		return i, nil
	}
	of := hashOf(seed, name.ID)
	if of>>(64-ShardBits) != hash>>(64-ShardBits) {
		return 0, fmt.Errorf("%w: an id and its meaning are in two shards", ErrPlain)
	}
	id, ok := n.find(of, []byte(name.ID))
	if !ok {
		id = n.insert(of, name.ID)
		n.skipped[id] = name.Excluded
	}
	n.meaning[i] = id
	return id, nil
}
