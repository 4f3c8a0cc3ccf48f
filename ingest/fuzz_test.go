package ingest

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
)

// FuzzReadSeal reads any message as a seal. What is read is written as the same bytes.
func FuzzReadSeal(f *testing.F) {
	f.Add(AppendSeal(nil, 1))
	f.Add(AppendSeal(nil, 1_700_000_000_000_000_000))
	f.Add([]byte{frameMagic0, sealMagic1, sealVersion + 1, 7})
	f.Add([]byte{frameMagic0, sealMagic1, sealVersion, 0x81, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		horizon, err := ReadSeal(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		again, err := ReadSeal(AppendSeal(nil, horizon))
		if horizon <= 0 || err != nil || again != horizon {
			t.Fatalf("a seal up to %d is read as one up to %d: %v", horizon, again, err)
		}
	})
}

// FuzzReadDeadLetters reads any message of the stream of dead letters, as anybody may have
// written it.
func FuzzReadDeadLetters(f *testing.F) {
	f.Add("hold.dlq.3.17.0", "", "", []byte("{}"))
	f.Add("hold.dlq.3.17.frame", "1", "", []byte{0, 1, 2})
	f.Add("hold.dlq.3.17.0", "2", "99", []byte("x"))
	f.Add("elsewhere", "", "-1", []byte(nil))
	f.Fuzz(func(t *testing.T, subject, frame, size string, data []byte) {
		header := nats.Header{}
		for name, value := range map[string]string{headerFrame: frame, headerSize: size} {
			if value != "" {
				header.Set(name, value)
			}
		}
		letters, err := ReadDeadLetters(subject, header, data)
		if err != nil {
			if !errors.Is(err, ErrDeadLetter) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		if len(letters) == 0 {
			t.Fatal("a message without an error is no dead letter")
		}
		for i := range letters {
			if id, err := ParseDeadLetterID(letters[i].ID()); err != nil || id.ID() != letters[i].ID() {
				t.Fatalf("the id %q is read as %q: %v", letters[i].ID(), id.ID(), err)
			}
		}
	})
}

// FuzzMetadata reads any metadata of the log's stream.
func FuzzMetadata(f *testing.F) {
	f.Add(`[{"from":0,"max_clock_skew":"5m","max_future_end":"5m"}]`, `{"through":3,"times":{"1":2}}`)
	f.Add(`[]`, `{}`)
	f.Fuzz(func(t *testing.T, limits, imported string) {
		metadata := map[string]string{metaLimits: limits, metaImport: imported}
		if history, err := parseLimits(metadata); err == nil && (len(history) == 0 || history[0].from != 0) {
			t.Fatalf("the limits %q are read as %v", limits, history)
		}
		if note, err := parseImport(metadata); err == nil && imported != "" && note.Through == 0 {
			t.Fatalf("the note %q is read as %v", imported, note)
		}
	})
}
