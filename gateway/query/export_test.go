package query

// ForgetPins has the next page begin with a new state.
func ForgetPins(b *Generation) {
	r := b.ranks
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pins.all = nil
}

// Boards is the number of boards of tokens, and the most that there may be.
func Boards(b *Generation) (n, most int) {
	b.ranks.mu.Lock()
	defer b.ranks.mu.Unlock()
	return len(b.ranks.tokens), maxTokenBoards
}

// Dirty is the number of holders that the board of a token has to read again.
func Dirty(b *Generation, token string) int {
	b.ranks.mu.Lock()
	defer b.ranks.mu.Unlock()
	return len(b.ranks.tokens[token].dirty)
}

// FillPins has cursors pin as many states as there may be, and gives how many there are.
func FillPins(b *Generation) (n, most int) {
	b.ranks.mu.Lock()
	defer b.ranks.mu.Unlock()
	for range maxPins {
		b.ranks.pins.add(&pin{})
	}
	return len(b.ranks.pins.all), maxPins
}

// CursorOf is a cursor by settled score like another one, of an offset; pin 0 takes
// that of the other one.
func CursorOf(like string, pin, offset uint64) (string, error) {
	c, err := parseCursor(like, &TopQuery{By: BySettled})
	if pin != 0 {
		c = cursor{Pin: pin, By: BySettled}
	}
	c.Offset = offset
	return c.String(), err
}

// OutdatedTries is how often a read is tried.
const OutdatedTries = outdatedTries

// Afresh is afresh whose read emits.
func Afresh(read func(emit func(int) error) error) error {
	return afresh(func(given func()) error {
		return read(givenTo(given, func(int) error { return nil }))
	})
}
