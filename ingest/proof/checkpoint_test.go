package proof_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"holdmetrics/ingest/proof"
)

func key(t *testing.T, seed byte, name string) (secret, public string) {
	t.Helper()
	secret, public, err := proof.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), name)
	if err != nil {
		t.Fatal(err)
	}
	return secret, public
}

func TestCheckpointIsSigned(t *testing.T) {
	t.Parallel()
	secret, public := key(t, 1, "example.com/holds")
	signer, err := proof.ParseKey(secret + "\n")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := proof.ParseVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	if again := signer.Public(); again != public {
		t.Errorf("public key %s, want %s", again, public)
	}
	c := proof.Checkpoint{LogID: "0f4b", Size: 42, Root: sha256.Sum256([]byte("x"))}
	signed, err := c.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(signed, "holdmetrics/0f4b\n42\n") || !strings.Contains(signed, "\n\n\u2014 example.com/holds ") {
		t.Errorf("note:\n%s", signed)
	}
	if got, err := proof.OpenCheckpoint(signed, verifier); err != nil || got != c {
		t.Errorf("%v, %v", got, err)
	}
	_, public = key(t, 2, "example.com/holds")
	other, err := proof.ParseVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]string{
		"another key": signed, "changed": strings.Replace(signed, "42", "43", 1), "empty": "",
		"not signed": strings.SplitAfter(signed, "\n\n")[0],
	} {
		keys := verifier
		if name == "another key" {
			keys = other
		}
		if _, err := proof.OpenCheckpoint(test, keys); !errors.Is(err, proof.ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadKeysAreRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	secret, public := key(t, 1, "n")
	for _, text := range []string{"", "x", public, secret[:len(secret)-4], strings.Replace(secret, "+n+", "+m+", 1)} {
		_, err := proof.ParseKey(text)
		if !errors.Is(err, proof.ErrKey) || len(text) > 8 && strings.Contains(err.Error(), text[len(text)-8:]) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	for _, text := range []string{"", "x", secret} {
		if _, err := proof.ParseVerifier(text); !errors.Is(err, proof.ErrKey) || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b"} {
		if _, _, err := proof.GenerateKey(bytes.NewReader(make([]byte, 64)), name); !errors.Is(err, proof.ErrKey) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzOpenCheckpoint(f *testing.F) {
	secret, public, err := proof.GenerateKey(bytes.NewReader(make([]byte, 64)), "n")
	if err != nil {
		f.Fatal(err)
	}
	signer, err := proof.ParseKey(secret)
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := proof.ParseVerifier(public)
	if err != nil {
		f.Fatal(err)
	}
	c := proof.Checkpoint{LogID: "a", Size: 1}
	signed, err := c.Sign(signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := proof.OpenCheckpoint(text, verifier)
		if err == nil && got != c {
			t.Errorf("a checkpoint that was never signed: %v", got)
		}
	})
}

func FuzzParseLeaf(f *testing.F) {
	l := leaf(7)
	f.Add(l.Append(nil))
	lost := proof.Leaf{Position: 3, Lost: true}
	f.Add(lost.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := proof.ParseLeaf(b)
		if err != nil {
			if !errors.Is(err, proof.ErrLeaf) {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(l.Append(nil), b) {
			t.Errorf("%x becomes %x", b, l.Append(nil))
		}
		if want := sha256.Sum256(append([]byte{0}, b...)); l.Hash() != want {
			t.Errorf("hash of %x", b)
		}
	})
}
