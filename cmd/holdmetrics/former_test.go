package main

import (
	"bytes"
	"strings"
	"testing"
)

// The commands of the Python service start nothing, and are errors of usage.
func TestFormerCommands(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"grpc", "http", "all", "grpc --port 1", "http -v -x=2 more", "all more and more"} {
		var out, errs bytes.Buffer
		args := strings.Fields(line)
		code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs})
		if code != exitUsage || out.Len() > 0 {
			t.Errorf("%s: exit code %d, output %q", line, code, out.String())
		}
		for _, want := range []string{args[0] + " is a command of the Python service", "holdmetrics gateway", "holdmetrics serve"} {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%s: %q is not in %q", line, want, errs.String())
			}
		}
	}
}
