package hold

import (
	"fmt"
	"unsafe"
)

// rowFacts gives every fact of a small pair once, by time.
func (p *Pair) rowFacts(yield func(Fact) bool) bool {
	for i := range p.rows {
		e := p.entryOf(&p.rows[i])
		if !e.facts(yield) {
			return false
		}
	}
	return true
}

// rowsPage is the one page of a small pair: what the first leaf's would be.
func (p *Pair) rowsPage() []byte {
	data := append(make([]byte, 0, 1+32*len(p.rows)), pageFacts)
	p.rowFacts(func(f Fact) bool {
		data = f.Append(data)
		return true
	})
	return data
}

// addPage adds the facts of a page.
func (p *Pair) addPage(data []byte) error {
	if len(data) == 0 || data[0] != pageFacts {
		return fmt.Errorf("%w: page of an unknown version", ErrCorrupt)
	}
	for b := data[1:]; len(b) > 0; {
		f, behind, err := ParseFact(b)
		if err != nil {
			return err
		}
		if f.HoldID != "" {
			return fmt.Errorf("%w: a fact with a hold_id on a page of those without", ErrCorrupt)
		}
		p.Add(f)
		b = behind
	}
	return nil
}

// rowBytes is what a small pair takes.
func (p *Pair) rowBytes() int {
	n := int(unsafe.Sizeof(*p))
	if cap(p.rows) > fewRows {
		n += cap(p.rows) * int(unsafe.Sizeof(row{}))
	}
	return n + p.aside.bytes()
}
