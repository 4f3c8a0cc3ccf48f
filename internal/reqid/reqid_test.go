package reqid

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

func TestValid(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"a": true, "0af7651916cd43dd8448eb211c80319c": true, "svc/1.2:3+x=@_-": true,
		strings.Repeat("x", Most): true, strings.Repeat("x", Most+1): false,
		"": false, "a b": false, "a\nb": false, "a\tb": false, "é": false, `a"b`: false, "a,b": false, "a;b": false, "\x1b[2J": false, "a%0ab": false,
	} {
		if Valid(id) != want {
			t.Errorf("Valid(%q) = %v", id, !want)
		}
	}
}

// Whatever a client sends, the id that comes of it is well-formed and short.
func TestChoose(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, err := NewSource(bytes.NewReader([]byte("12345678")))
		if err != nil {
			t.Fatal(err)
		}
		given := rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "given")
		id := s.Choose(given)
		if !Valid(id) {
			t.Fatalf("%q is not well-formed", id)
		}
		if taken := len(given) == 1 && Valid(given[0]); taken != (len(given) == 1 && id == given[0]) {
			t.Fatalf("of %q came %q", given, id)
		}
		if one, other := s.Choose(nil), s.Choose(nil); one == other {
			t.Fatal("the same id twice")
		}
	})
}

func TestContext(t *testing.T) {
	t.Parallel()
	type other struct{}
	ctx := With(context.WithValue(t.Context(), other{}, "x"), "id")
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	if Of(inner) != "id" || inner.Value(other{}) != "x" || Of(t.Context()) != "" {
		t.Errorf("ids %q and %q", Of(inner), Of(t.Context()))
	}
}

func TestNoRandomness(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	if _, err := NewSource(iotest.ErrReader(failed)); !errors.Is(err, failed) {
		t.Error(err)
	}
}
