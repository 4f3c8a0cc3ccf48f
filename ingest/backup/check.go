package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/ingest"
)

// A stream may be damaged although every byte of its backup is as it was written: the
// disk damaged it before, and the server copies blocks without reading the messages in
// them. So the messages are read, before the copy and where it was restored.

// checkLog reads every message of the event log, if there is one. A log that an import
// fills cannot be read yet, and is copied as it is.
func checkLog(ctx context.Context, conn *nats.Conn) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	log, err := ingest.FindLog(ctx, js)
	if errors.Is(err, ingest.ErrNoLog) || errors.Is(err, ingest.ErrUnfinishedImport) || errors.Is(err, ingest.ErrLogSettings) {
		return nil
	}
	if err != nil {
		return err
	}
	last, err := log.LastPosition(ctx)
	if err != nil {
		return err
	}
	return log.Check(ctx, ingest.Span{First: 1, Last: last})
}

// CheckRestored reads every message of the streams of a backup at a server to which they
// were restored. The error wraps [ErrUnreadable] if a message is missing or cannot be
// read.
func CheckRestored(ctx context.Context, conn *nats.Conn, m *Manifest) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	for _, s := range m.Streams {
		if s.Name == ingest.StreamName {
			err = checkLog(ctx, conn)
			if errors.Is(err, ingest.ErrLogDamaged) {
				err = fmt.Errorf("%w: %w", ErrUnreadable, err)
			}
		} else {
			err = checkStream(ctx, js, &s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkStream compares the messages that can be read with what the backup says.
func checkStream(ctx context.Context, js jetstream.JetStream, s *Stream) error {
	var settings struct {
		Expires bool `json:"allow_msg_ttl"`
	}
	if err := json.Unmarshal(s.Config, &settings); err != nil {
		return err
	}
	n, err := ingest.CountReadable(ctx, js, s.Name)
	if err == nil && n < s.Messages && !settings.Expires {
		err = fmt.Errorf("%w: %d messages of stream %s", ErrUnreadable, s.Messages-n, s.Name)
	}
	return err
}
