package proof

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// originPrefix is followed by the id of the log, in the first line of a checkpoint.
const originPrefix = "holdmetrics/"

// Errors of checkpoints and keys.
var (
	// ErrCheckpoint is the error of a text that is no checkpoint, or has no signature of
	// the key.
	ErrCheckpoint = errors.New("proof: not a checkpoint that the key has signed")
	// ErrKey is the error of a text that is no key. It never has the key in it.
	ErrKey = errors.New("proof: not a key")
)

// Checkpoint states how large the tree of a log is, and its root. Signed, it is a note of
// three lines (see golang.org/x/mod/sumdb/note, and C2SP tlog-checkpoint):
//
//	holdmetrics/<id of the log>
//	<positions>
//	<root in base64>
type Checkpoint struct {
	LogID string
	Size  uint64
	Root  Hash
}

// Text returns the lines that are signed.
func (c *Checkpoint) Text() string {
	return originPrefix + c.LogID + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// Sign returns the note.
func (c *Checkpoint) Sign(key note.Signer) (string, error) {
	signed, err := note.Sign(&note.Note{Text: c.Text()}, key)
	if err != nil {
		return "", fmt.Errorf("proof: sign a checkpoint: %w", err)
	}
	return string(signed), nil
}

// OpenCheckpoint reads a note that one of the keys has signed. Its errors match
// [ErrCheckpoint].
func OpenCheckpoint(signed string, keys ...note.Verifier) (Checkpoint, error) {
	n, err := note.Open([]byte(signed), note.VerifierList(keys...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return parseCheckpoint(n.Text)
}

// ReadCheckpoint reads a note, and does not check who has signed it. Its errors match [ErrCheckpoint].
func ReadCheckpoint(signed string) (Checkpoint, error) {
	text, _, ok := strings.Cut(signed, "\n\n")
	if !ok {
		return Checkpoint{}, fmt.Errorf("%w: it has no signature", ErrCheckpoint)
	}
	return parseCheckpoint(text + "\n")
}

func parseCheckpoint(text string) (Checkpoint, error) {
	bad := func(what string) (Checkpoint, error) {
		return Checkpoint{}, fmt.Errorf("%w: %s", ErrCheckpoint, what)
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return bad("it does not have three lines")
	}
	id, ok := strings.CutPrefix(lines[0], originPrefix)
	if !ok || id == "" {
		return bad("its origin is not a log of holdmetrics")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return bad("its size is not a number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != HashSize {
		return bad("its root is not a hash")
	}
	return Checkpoint{LogID: id, Size: size, Root: Hash(root)}, nil
}

// GenerateKey returns a new Ed25519 key: what signs, which is secret, and what verifies,
// which is not. The name stands in every signature.
func GenerateKey(random io.Reader, name string) (secret, public string, err error) {
	if name == "" || strings.ContainsAny(name, " \t\r\n+") {
		return "", "", fmt.Errorf("%w: the name %q is empty, or has a space or a plus sign", ErrKey, name)
	}
	secret, public, err = note.GenerateKey(random, name)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	return secret, public, nil
}

// Key is an Ed25519 key that signs.
type Key struct {
	note.Signer
	public string
}

// Public returns the public key.
func (k *Key) Public() string { return k.public }

// ParseKey reads the secret key of a file. White space around it does not count.
func ParseKey(secret string) (*Key, error) {
	secret = strings.TrimSpace(secret)
	signer, err := note.NewSigner(secret) // whose error may have the key in it
	if err == nil {
		var public string
		if public, err = publicOf(secret); err == nil {
			return &Key{signer, public}, nil
		}
	}
	return nil, fmt.Errorf("%w that signs: make one with 'holdmetrics audit keygen'", ErrKey)
}

// ParseVerifier reads a public key.
func ParseVerifier(public string) (note.Verifier, error) {
	public = strings.TrimSpace(public)
	if strings.HasPrefix(public, "PRIVATE+") {
		return nil, fmt.Errorf("%w that verifies: it is the secret one", ErrKey)
	}
	key, err := note.NewVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("%w that verifies: %w", ErrKey, err)
	}
	return key, nil
}

// publicOf returns the public key of a secret one that is well formed.
func publicOf(secret string) (string, error) {
	parts := strings.SplitN(secret, "+", 5) // PRIVATE, KEY, name, hash, key
	seed, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return "", fmt.Errorf("%w that signs", ErrKey)
	}
	public, ok := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("%w that signs", ErrKey)
	}
	return note.NewEd25519VerifierKey(parts[2], public)
}
