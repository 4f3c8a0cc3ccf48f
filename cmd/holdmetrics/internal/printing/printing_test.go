package printing

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// nasty clears a screen, makes another line, turns the direction of the text and is
// not UTF-8 at its end.
const nasty = "a\x1b[2J\r\nb\u202ec\u200b\xff"

// seen fails the test if a text has anything that cannot be seen.
func seen(t *testing.T, what, text string) {
	t.Helper()
	if strings.ContainsAny(text, "\x1b\r\u202e\u200b\u009b") || strings.Contains(text, "\xff") {
		t.Errorf("%s: %q", what, text)
	}
}

func TestWhatCannotBeSeenIsEscaped(t *testing.T) {
	t.Parallel()
	for _, format := range formats {
		var out bytes.Buffer
		w, err := NewRowWriter(&out, format, []string{"holder_id", "score"})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Write(nasty, "1"), w.Write("plain \"quoted\" \\ ü", "2"), w.Close()); err != nil {
			t.Fatal(err)
		}
		switch format {
		case "csv": // for programs
			if !strings.Contains(out.String(), "\u202ec\u200b") {
				t.Errorf("csv: %q", out.String())
			}
		case "json":
			seen(t, format, out.String())
			var rows []map[string]string
			if err := json.Unmarshal(out.Bytes(), &rows); err != nil || rows[0]["holder_id"] != strings.ToValidUTF8(nasty, "\ufffd") || rows[1]["holder_id"] != "plain \"quoted\" \\ ü" {
				t.Errorf("%q %v", rows, err)
			}
		case "table":
			seen(t, format, out.String())
			if lines := strings.Count(out.String(), "\n"); lines != 3 {
				t.Errorf("%d lines: %q", lines, out.String())
			}
		}
	}
}

func TestLogsAreEscaped(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLogger(&out, zapcore.InfoLevel)
	log.With(zap.String("with", nasty)).Named(nasty).Info("client "+nasty, zap.String("holder", nasty), zap.Error(errors.New(nasty)))
	seen(t, "log", out.String())
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("%d lines: %q", lines, out.String())
	}
	out.Reset()
	log.Info("plain ü", zap.String("holder", "alice"))
	if !strings.HasSuffix(out.String(), "INFO\tplain ü\t{\"holder\": \"alice\"}\n") {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	if n, err := SafeText(&out).Write([]byte(nasty)); n != len(nasty) || err != nil {
		t.Error(n, err)
	}
	seen(t, "text", strings.ReplaceAll(out.String(), `\r`, ""))
}
