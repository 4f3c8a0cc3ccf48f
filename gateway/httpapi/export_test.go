package httpapi

// What the tests of bodies have to exceed.
const (
	HeldAnswer      = heldAnswer
	HoldsPieceLines = holdsPieceLines
)

// StatusOf is the status of HTTP for an error.
func StatusOf(err error) int { f := asProblem(err); return f.status }
