package immu

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors that callers decide on.
var (
	// ErrAway: no server answers. A later try may succeed.
	ErrAway = errors.New("immudb does not answer")
	// ErrCredentials: user, password or token is wrong, or may not do this.
	ErrCredentials = errors.New("immudb refuses the user, the password or the token")
	// ErrDatabase: there is no such database.
	ErrDatabase = errors.New("immudb has no such database")
	// ErrOtherServer: the server, or the database, is another one than before.
	ErrOtherServer = errors.New("this is another immudb server or database than before")
	// ErrRolledBack: the server has less than it had.
	ErrRolledBack = errors.New("immudb was rolled back")
	// ErrRewritten: the server has another history than it had.
	ErrRewritten = errors.New("immudb has another history than before")
	// ErrDamaged: an answer does not verify, or the server finds its own data damaged.
	ErrDamaged = errors.New("immudb's data is damaged, or was changed")
	// ErrNoState: the state file is gone, and the database has data.
	ErrNoState = errors.New("the state file is gone")
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("immudb has no such key")
)

// classify gives an error of a call a kind. Texts of the server never have credentials in
// them.
func classify(what string, err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("immudb: %s: %w", what, err)
	}
	text := s.Message()
	kind := error(nil)
	switch {
	case s.Code() == codes.Canceled, s.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("immudb: %s: %w", what, err)
	case s.Code() == codes.Unavailable:
		kind = ErrAway
	case strings.Contains(text, "database does not exist"), strings.Contains(text, "database was not found"):
		kind = ErrDatabase
	case s.Code() == codes.PermissionDenied, s.Code() == codes.Unauthenticated, strings.Contains(text, "invalid user name or password"),
		strings.Contains(text, "invalid token"), strings.Contains(text, "not logged in"):
		kind = ErrCredentials
	case strings.Contains(text, "key not found"):
		kind = ErrNotFound
	case strings.Contains(text, "corrupt"), strings.Contains(text, "tampered"), strings.Contains(text, "unexpected EOF"):
		kind = ErrDamaged
	}
	if kind == nil {
		return fmt.Errorf("immudb: %s: %s: %s", what, s.Code(), text)
	}
	return fmt.Errorf("immudb: %s: %w: %s", what, kind, text)
}

// sessionOver reports whether a call failed because its session is over.
func sessionOver(err error) bool {
	text := status.Convert(err).Message()
	return strings.Contains(text, "no session found") || strings.Contains(text, "session not found") || strings.Contains(text, "no session")
}
