package app

import (
	"errors"
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"

	"holdmetrics/hold/rules"
)

// maxRulesFile bounds what is read of a rules file: room for a hundred thousand
// excluded holders.
const maxRulesFile = 16 << 20

// serverRules returns the rules of the file that the settings of a server name, or nil
// if they name none. Problems and warnings go to the log.
func serverRules(path string, log *zap.Logger) (*rules.Rules, error) {
	if path == "" {
		return nil, nil
	}
	return ReadRules(path, nil, func(p rules.Problem, warning bool) {
		if warning {
			log.Warn("rules file has a warning", zap.Stringer("problem", p))
		} else {
			log.Error("rules file has a problem", zap.Stringer("problem", p))
		}
	})
}

// ReadRules reads a rules file; "-" reads from in, unless that is nil. It calls tell
// with every problem, or, if there is no problem, with every warning.
func ReadRules(path string, in io.Reader, tell func(p rules.Problem, warning bool)) (*rules.Rules, error) {
	name := path
	if path == "-" && in != nil {
		name = "stdin"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxRulesFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: %w", name, err)
	case len(text) > maxRulesFile:
		return nil, fmt.Errorf("%s is larger than a rules file may be, which is %d MiB", name, maxRulesFile>>20)
	}
	r, err := rules.Parse(name, text)
	if problems := rules.Problems(nil); errors.As(err, &problems) {
		for _, p := range problems {
			tell(p, false)
		}
		return nil, fmt.Errorf("%s has %s", name, errorCount(len(problems)))
	}
	if err != nil {
		return nil, err
	}
	for _, w := range r.Warnings() {
		tell(w, true)
	}
	return r, nil
}

// errorCount returns "1 error" or "N errors".
func errorCount(n int) string {
	if n == 1 {
		return "1 error"
	}
	return fmt.Sprintf("%d errors", n)
}
