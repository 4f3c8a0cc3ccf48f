package ingest

import (
	"errors"
	"fmt"
	"strconv"
)

// metaFormat has the number of the format of a log in the metadata of its stream. A log
// without one has format 1. A program that writes what an older one would misread, in the
// log or in any bucket beside it, raises the number first. So an older process refuses to
// start, and one that runs does not meet what it would take for damage.
const metaFormat = "holdmetrics_format"

// logFormat is the newest format that this program reads.
const logFormat = 1

// ErrLogFormat means that a newer program has written the log.
var ErrLogFormat = errors.New("ingest: the event log is in a newer format")

// checkFormat refuses a log that a newer program has written.
func checkFormat(metadata map[string]string) error {
	text, found := metadata[metaFormat]
	if !found {
		return nil
	}
	format, err := strconv.ParseUint(text, 10, 32)
	if err != nil || format == 0 {
		return &LogSettingsError{
			Stream: StreamName, Setting: "metadata " + metaFormat, Got: strconv.Quote(clip(text)), Want: "a number",
			Hint: "put back what the log had, with `nats stream edit " + StreamName + "`",
		}
	}
	if format > logFormat {
		return fmt.Errorf("%w: it has format %d, and this program reads up to %d: run the version of holdmetrics that wrote it, or a newer one", ErrLogFormat, format, logFormat)
	}
	return nil
}
