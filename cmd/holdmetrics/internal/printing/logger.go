package printing

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"holdmetrics/ingest/rows"
)

// Format is how lines of a log are written.
type Format string

// The formats: lines for people, and one JSON object a line for programs.
const (
	Console Format = "console"
	JSON    Format = "json"
)

// NewLogger returns a logger that writes lines for people; see [NewCore].
func NewLogger(out io.Writer, level zapcore.Level) *zap.Logger {
	return zap.New(NewCore(out, Console, level))
}

// NewCore returns what writes the lines of a log. In lines for people what cannot be seen
// is escaped, so that what clients and files say cannot move the cursor of a terminal, or
// look like another line.
func NewCore(out io.Writer, format Format, level zapcore.LevelEnabler) zapcore.Core {
	config := zap.NewProductionEncoderConfig()
	var encoder zapcore.Encoder
	if format == JSON {
		config.TimeKey, config.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
		encoder = zapcore.NewJSONEncoder(config)
	} else {
		config.EncodeTime = zapcore.ISO8601TimeEncoder
		config.EncodeLevel = zapcore.CapitalLevelEncoder
		config.EncodeDuration = zapcore.StringDurationEncoder
		encoder = safeEncoder{zapcore.NewConsoleEncoder(config)}
	}
	return zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level)
}

// safeEncoder escapes what cannot be seen in the lines of another encoder.
type safeEncoder struct{ zapcore.Encoder }

// Clone returns a copy.
func (e safeEncoder) Clone() zapcore.Encoder { return safeEncoder{e.Encoder.Clone()} }

// EncodeEntry encodes an entry. Only the lines of a stack trace are lines of their own.
func (e safeEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	entry.Message, entry.LoggerName = rows.Safe(entry.Message), rows.Safe(entry.LoggerName)
	line, err := e.Encoder.EncodeEntry(entry, fields)
	if err != nil {
		return nil, err
	}
	safe := appendSafe(nil, line.Bytes())
	if !bytes.Equal(safe, line.Bytes()) {
		line.Reset()
		line.AppendBytes(safe)
	}
	return line, nil
}

// appendSafe appends a text with everything escaped that cannot be seen, except the ends
// of lines and tabs.
func appendSafe(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = fmt.Appendf(dst, `\x%02x`, text[0])
		case r == '\n' || r == '\t' || strconv.IsPrint(r):
			dst = append(dst, text[:n]...)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			dst = append(dst, quoted[1:len(quoted)-1]...)
		}
		text = text[n:]
	}
	return dst
}

// SafeText returns a writer of text for people that escapes what cannot be seen, except
// the ends of lines and tabs. Each write must have whole characters.
func SafeText(out io.Writer) io.Writer { return safeText{out} }

type safeText struct{ out io.Writer }

// Write writes a text and returns its own length.
func (s safeText) Write(text []byte) (int, error) {
	if _, err := s.out.Write(appendSafe(nil, text)); err != nil {
		return 0, err
	}
	return len(text), nil
}
