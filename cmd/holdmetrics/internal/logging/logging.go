// Package logging makes the log of serve, gateway and worker. Its level can be changed
// while the process runs: by HTTP, and by a signal.
package logging

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"holdmetrics/cmd/holdmetrics/internal/printing"
)

// Level is the level of a log. It is safe for concurrent use.
type Level struct {
	atomic zap.AtomicLevel
	log    *zap.Logger
}

// New returns a log that writes lines in a format, and its level. The other cores get the
// same lines.
func New(out io.Writer, format printing.Format, level zapcore.Level, others ...zapcore.Core) (*zap.Logger, *Level) {
	l := &Level{atomic: zap.NewAtomicLevelAt(level)}
	cores := []zapcore.Core{printing.NewCore(out, format, l.atomic)}
	for _, c := range others {
		limited, err := zapcore.NewIncreaseLevelCore(c, l.atomic)
		if err != nil { // it has a level of its own, which is higher
			limited = c
		}
		cores = append(cores, limited)
	}
	l.log = zap.New(zapcore.NewTee(cores...))
	return l.log, l
}

// Get returns the level.
func (l *Level) Get() zapcore.Level { return l.atomic.Level() }

// set changes the level, and logs who did it.
func (l *Level) set(to zapcore.Level, by string, fields ...zap.Field) {
	was := l.atomic.Level()
	if was == to {
		return
	}
	// Lines of both levels must show that it changed.
	l.atomic.SetLevel(min(was, to, zapcore.WarnLevel))
	l.log.Warn("log level changed", append(fields, zap.Stringer("level_before", was), zap.Stringer("level_now", to), zap.String("by", by))...)
	l.atomic.SetLevel(to)
}

// cycle goes to debug, and from there to info.
func (l *Level) cycle(by string) {
	if l.Get() == zapcore.DebugLevel {
		l.set(zapcore.InfoLevel, by)
		return
	}
	l.set(zapcore.DebugLevel, by)
}
