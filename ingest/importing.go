package ingest

import "context"

// Importing is an [*UnfinishedImportError] while an import fills the log, or has begun
// to and was cut short, and nil else. It asks the server, and only where the log was
// empty when it was opened and nothing of it was read yet: a log that has messages is
// never filled.
func (l *Log) Importing(ctx context.Context) error {
	if l.settled.Load() {
		return nil
	}
	stream, err := l.js.Stream(ctx, StreamName)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	note, err := parseImport(info.Config.Metadata)
	if err == nil && note != nil && note.Token != "" {
		err = &UnfinishedImportError{LogID: note.LogID, Through: note.Through, Last: info.State.LastSeq}
	}
	return err
}
