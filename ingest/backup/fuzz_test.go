package backup

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// FuzzVerify reads any bytes as a backup. The error is one of those that it names.
func FuzzVerify(f *testing.F) {
	var whole bytes.Buffer
	w, err := NewWriter(&whole, "v1", time.Unix(0, 0), nil)
	if err != nil {
		f.Fatal(err)
	}
	if err := w.AddFile("policy", 5, bytes.NewReader([]byte("merge"))); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.Bytes())
	f.Add([]byte("ustar"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := Verify(t.Context(), bytes.NewReader(data), nil)
		if err != nil && !errors.Is(err, ErrNotABackup) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrDamaged) {
			t.Fatalf("the error is %v", err)
		}
	})
}
