package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The settings of the log can be changed under a process that has it open, by anybody who
// may update streams. Such a change loses events, or keeps them out, without a word of
// the broker. So processes look at them by and by.

// CheckSettings asks the leader for the settings of the log, and returns an error if they
// are not those of an event log any more. It matches [ErrLogSettings], or [ErrLogMissing]
// if the log is gone or another one is in its place.
func (l *Log) CheckSettings(ctx context.Context) error {
	info, err := l.info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: stream %s was deleted", ErrLogMissing, StreamName)
	case err != nil:
		return fmt.Errorf("ingest: look at the settings of the log: %w", err)
	}
	return fits(l, &info.Config)
}

// isImporting reports whether an import fills the log, which changes its settings for as
// long.
func isImporting(c *jetstream.StreamConfig) bool {
	note, err := parseImport(c.Metadata)
	return err == nil && note != nil && note.Token != ""
}

// fits returns an error unless the settings are those of this log.
func fits(l *Log, c *jetstream.StreamConfig) error {
	if id := c.Metadata[metaLogID]; id != "" && id != l.id {
		return fmt.Errorf("%w: stream %s is another log, %s, and was %s", ErrLogMissing, StreamName, id, l.id)
	}
	if isImporting(c) {
		return nil
	}
	partitions, err := checkEvents(c)
	switch {
	case err != nil:
		return err
	case partitions != l.partitions:
		return &LogSettingsError{StreamName, "metadata " + metaPartitions, strconv.Itoa(partitions), strconv.Itoa(l.partitions), "put it back with 'holdmetrics log repair --settings' of a process that has the log open, which serve does by itself"}
	}
	scratch := Log{id: l.id, partitions: l.partitions, sealAfter: l.sealAfter}
	scratch.log = &scratch
	if err := errors.Join(scratch.openLimits(c), scratch.openHorizons(c, time.Time{}), scratch.openLost(c)); err != nil {
		return err
	}
	l.settings.Store(c)
	return nil
}

// RestoreLogSettings puts the settings of the log back that somebody has changed, those
// that the broker lets it change, and returns their names. Metadata that
// cannot be read becomes what open, if it is not nil, has read last.
func RestoreLogSettings(ctx context.Context, js jetstream.JetStream, open *Log) ([]string, error) {
	if open == nil {
		return restoreSettings(ctx, js, nil)
	}
	return restoreSettings(ctx, js, open.settings.Load())
}

// restoreSettings makes the settings of the stream those of a log. good are what they
// were; nil: that is not known.
func restoreSettings(ctx context.Context, js jetstream.JetStream, good *jetstream.StreamConfig) ([]string, error) {
	stream, err := js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, ErrNoLog
	}
	if err != nil {
		return nil, fmt.Errorf("ingest: look at the settings of the log: %w", err)
	}
	have := stream.CachedInfo().Config
	if isImporting(&have) {
		return nil, ErrUnfinishedImport
	}
	want := have
	if good != nil && (have.Metadata[metaLogID] == "" || have.Metadata[metaLogID] == good.Metadata[metaLogID]) && !metadataReadable(&have, good) {
		want.Metadata = maps.Clone(good.Metadata)
	}
	partitions, err := strconv.Atoi(want.Metadata[metaPartitions])
	if err != nil || want.Metadata[metaLogID] == "" {
		_, err := checkEvents(&have)
		return nil, err
	}
	made := eventsConfig(LogConfig{Partitions: partitions, Replicas: have.Replicas}, want.Metadata[metaLogID])
	want.Subjects, want.SubjectTransform = made.Subjects, made.SubjectTransform
	want.MaxMsgs, want.MaxBytes, want.MaxAge, want.MaxMsgsPerSubject, want.MaxMsgSize = -1, -1, 0, -1, -1
	want.DenyDelete, want.DenyPurge, want.AllowRollup, want.NoAck = true, true, false, false
	want.Discard, want.DiscardNewPerSubject, want.Duplicates = made.Discard, false, made.Duplicates
	want.RePublish, want.Mirror, want.Sources = nil, nil, nil
	var names []string
	for _, s := range []struct {
		name    string
		changed bool
	}{
		{"metadata", !maps.Equal(have.Metadata, want.Metadata)},
		{"subjects", !slices.Equal(slices.Sorted(slices.Values(have.Subjects)), want.Subjects)},
		{"subject_transform", have.SubjectTransform == nil || *have.SubjectTransform != *want.SubjectTransform},
		{"max_msgs", have.MaxMsgs > 0}, {"max_bytes", have.MaxBytes > 0}, {"max_age", have.MaxAge > 0},
		{"max_msgs_per_subject", have.MaxMsgsPerSubject > 0}, {"max_msg_size", have.MaxMsgSize > 0},
		{"deny_delete", !have.DenyDelete}, {"deny_purge", !have.DenyPurge}, {"allow_rollup_hdrs", have.AllowRollup}, {"no_ack", have.NoAck},
		{"discard", have.Discard != want.Discard || have.DiscardNewPerSubject}, {"republish", have.RePublish != nil}, {"sources", have.Mirror != nil || have.Sources != nil},
	} {
		if s.changed {
			names = append(names, s.name)
		}
	}
	if len(names) > 0 {
		if _, err := js.UpdateStream(ctx, want); err != nil {
			return nil, fmt.Errorf("ingest: put the settings of the log back (%v): %w", names, err)
		}
	}
	// What cannot be put back, such as a stream that is sealed, is named.
	_, err = checkEvents(&want)
	return names, err
}

// metadataReadable reports whether the metadata names the log and its partitions, and
// the rest of it can be read.
func metadataReadable(c, good *jetstream.StreamConfig) bool {
	if c.Metadata[metaLogID] != good.Metadata[metaLogID] || c.Metadata[metaPartitions] != good.Metadata[metaPartitions] {
		return false
	}
	var scratch Log
	scratch.log = &scratch
	return scratch.openLimits(c) == nil && scratch.openHorizons(c, time.Time{}) == nil && scratch.openLost(c) == nil
}

// checkEvents reports whether a stream is fit to be the event log, and how many
// partitions it has. Compression, replicas and placement are the operator's.
func checkEvents(c *jetstream.StreamConfig) (int, error) {
	const other = "this stream was not made by holdmetrics; use another account or JetStream domain, or move the stream away"
	const repair = "put it back with 'holdmetrics log repair --settings', while the broker runs"
	fail := func(setting, got, want, hint string) (int, error) {
		return 0, &LogSettingsError{Stream: StreamName, Setting: setting, Got: got, Want: want, Hint: hint}
	}
	if c.Metadata[metaLogID] == "" {
		return fail("metadata "+metaLogID, "none", "the id of the log", other)
	}
	p, err := strconv.Atoi(c.Metadata[metaPartitions])
	if err != nil || p < 1 || p > maxPartitions {
		return fail("metadata "+metaPartitions, strconv.Quote(c.Metadata[metaPartitions]), "the number of partitions", other)
	}
	want := eventsConfig(LogConfig{Partitions: p}, "")
	if got := slices.Sorted(slices.Values(c.Subjects)); !slices.Equal(got, want.Subjects) {
		return fail("subjects", clip(fmt.Sprint(got)),
			fmt.Sprintf("%s*, and one by one %s to %s", RawSubjectPrefix, LogSubject(0), LogSubject(p-1)), repair)
	}
	if c.SubjectTransform == nil || *c.SubjectTransform != *want.SubjectTransform {
		got := "none"
		if c.SubjectTransform != nil {
			got = c.SubjectTransform.Source + " to " + c.SubjectTransform.Destination
		}
		return fail("subject_transform", got, want.SubjectTransform.Source+" to "+want.SubjectTransform.Destination,
			repair+"; events that raw producers sent meanwhile were not stored under their partition")
	}
	loses := []struct {
		setting string
		bad     bool
		got     string
		want    string
	}{
		{"storage", c.Storage != jetstream.FileStorage, c.Storage.String(), "file"},
		{"retention", c.Retention != jetstream.LimitsPolicy, c.Retention.String(), "limits"},
		{"persist_mode", c.PersistMode != jetstream.DefaultPersistMode, c.PersistMode.String(), "default"},
		{"max_msgs", c.MaxMsgs > 0, strconv.FormatInt(c.MaxMsgs, 10), "no limit"},
		{"max_bytes", c.MaxBytes > 0, strconv.FormatInt(c.MaxBytes, 10), "no limit"},
		{"max_age", c.MaxAge > 0, c.MaxAge.String(), "no limit"},
		{"max_msgs_per_subject", c.MaxMsgsPerSubject > 0, strconv.FormatInt(c.MaxMsgsPerSubject, 10), "no limit"},
		{"max_msg_size", c.MaxMsgSize > 0, strconv.Itoa(int(c.MaxMsgSize)), "no limit"},
		{"deny_delete", !c.DenyDelete, "false", "true"},
		{"deny_purge", !c.DenyPurge, "false", "true"},
		{"allow_rollup_hdrs", c.AllowRollup, "true", "false"},
		{"no_ack", c.NoAck, "true", "false"},
		{"sealed", c.Sealed, "true", "false"},
		{"republish", c.RePublish != nil, "a subject", "none"},
		{"sources or mirror", c.Sources != nil || c.Mirror != nil, "another stream", "none"},
	}
	for _, s := range loses {
		if s.bad {
			return fail(s.setting, s.got, s.want, repair+", or where that is refused, back the log up and restore it: a restore makes a log with the right settings. With this setting events could be lost")
		}
	}
	return p, nil
}

func checkDeadLetters(c *jetstream.StreamConfig) error {
	want := deadLetterConfig(LogConfig{})
	const hint = "put it back with `nats stream edit " + DeadLetterStream + "`, or delete the stream after saving what you need: it is created again"
	if !slices.Equal(c.Subjects, want.Subjects) {
		return &LogSettingsError{DeadLetterStream, "subjects", fmt.Sprint(c.Subjects), fmt.Sprint(want.Subjects), hint}
	}
	if c.MaxMsgsPerSubject != 1 || c.Discard != jetstream.DiscardOld {
		return &LogSettingsError{DeadLetterStream, "max_msgs_per_subject and discard",
			fmt.Sprintf("%d, %v", c.MaxMsgsPerSubject, c.Discard), "1, old", hint}
	}
	return nil
}
