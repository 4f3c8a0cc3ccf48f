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
	data := append(make([]byte, 0, 1+32*len(p.rows)), pageVersion)
	p.rowFacts(func(f Fact) bool {
		data = f.Append(data)
		return true
	})
	return data
}

// openRows opens a pair of at most one page, the first leaf's.
func openRows(p *Pair, pages []Page) (*Pair, error) {
	p.opening = true // should it grow after all
	for _, page := range pages {
		if err := p.addPage(page.Data); err != nil {
			return nil, err
		}
	}
	p.opening = false
	p.ClearDirty()
	return p, nil
}

// addPage adds the facts of a page.
func (p *Pair) addPage(data []byte) error {
	if len(data) == 0 || data[0] != pageVersion {
		return fmt.Errorf("%w: page of an unknown version", ErrCorrupt)
	}
	for b := data[1:]; len(b) > 0; {
		f, behind, err := ParseFact(b)
		if err != nil {
			return err
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
	if p.wide != nil {
		n += int(unsafe.Sizeof(*p.wide)) + cap(*p.wide)*int(unsafe.Sizeof(Weight{}))
	}
	return n
}
