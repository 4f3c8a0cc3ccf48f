package rows

// Progress counts what is read of files that may be read more than once. It reports each
// byte once. It is not safe for concurrent use.
type Progress struct {
	read       func(n int)
	told, seen int64
}

// NewProgress returns a count that calls read with further bytes; read may be nil.
func NewProgress(read func(n int)) *Progress { return &Progress{read: read} }

// Add counts n bytes.
func (p *Progress) Add(n int) {
	if p.seen += int64(n); p.seen > p.told {
		if p.read != nil {
			p.read(int(p.seen - p.told))
		}
		p.told = p.seen
	}
}

// Again begins again with the first byte of the first file.
func (p *Progress) Again() { p.seen = 0 }
