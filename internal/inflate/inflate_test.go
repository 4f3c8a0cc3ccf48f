package inflate_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"holdmetrics/internal/inflate"
)

func packed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unzip(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }

// What is within the limits comes whole; what is not ends about where it leaves them.
func TestLimits(t *testing.T) {
	t.Parallel()
	random := make([]byte, 1<<20)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random) // never fails
	for _, c := range []struct {
		name   string
		data   []byte
		limits inflate.Limits
		most   int // bytes that may come; 0: all, and no error
		says   string
	}{
		{"random", random, inflate.Limits{Free: 10, Ratio: 2, Most: 1 << 20}, 0, ""},
		{"free", bytes.Repeat([]byte("\n"), 1<<20), inflate.Limits{Free: 1 << 20, Ratio: 1}, 0, ""},
		{"no limits", bytes.Repeat([]byte("\n"), 1<<24), inflate.Limits{}, 0, ""},
		{"ratio", bytes.Repeat([]byte("\n"), 1<<24), inflate.Limits{Free: 1000, Ratio: 100}, 1 << 20, "less compressed"},
		{"most", random, inflate.Limits{Most: 1000}, 64 << 10, "in parts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := inflate.NewGate(1).NewReader(t.Context(), bytes.NewReader(packed(t, c.data)), unzip, c.limits)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if c.most == 0 {
				if err != nil || !bytes.Equal(got, c.data) {
					t.Fatalf("%d bytes of %d, %v", len(got), len(c.data), err)
				}
				return
			}
			if !errors.Is(err, inflate.ErrTooMuch) || !strings.Contains(err.Error(), c.says) || len(got) > c.most {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// A reader that waits for data keeps nobody from decompressing, and the end of its context
// ends a reader that waits for its place.
func TestGate(t *testing.T) {
	t.Parallel()
	gate := inflate.NewGate(1)
	data := packed(t, bytes.Repeat([]byte("x"), 1000))
	slow, feed := io.Pipe()
	read := make(chan error, 1)
	go func() {
		r, err := gate.NewReader(t.Context(), slow, unzip, inflate.Limits{})
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		read <- err
	}()
	if _, err := feed.Write(data[:12]); err != nil { // the reader has taken it, and wants more
		t.Fatal(err)
	}
	r, err := gate.NewReader(t.Context(), bytes.NewReader(data), unzip, inflate.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || len(got) != 1000 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone, err := gate.NewReader(ctx, bytes.NewReader(data), unzip, inflate.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := gone.Read(make([]byte, 10)); !errors.Is(err, context.Canceled) {
		t.Fatalf("after the end of its context: %v", err)
	}
	if _, err := feed.Write(data[12:]); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	if err := <-read; err != nil {
		t.Fatal(err)
	}
}
