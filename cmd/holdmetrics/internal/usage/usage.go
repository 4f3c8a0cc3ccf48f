// Package usage marks the errors of a wrong command line, and reads the times of flags.
package usage

import "fmt"

// Error is a command line that cannot be carried out as it is written.
type Error struct{ error }

// Unwrap returns the error itself.
func (e Error) Unwrap() error { return e.error }

// Errorf returns an Error with a formatted text.
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }

// Wrap returns err as an Error.
func Wrap(err error) error { return Error{err} }
