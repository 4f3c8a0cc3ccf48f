package ingest

import (
	"errors"
	"testing"
)

// Who has a log open that is being filled hears so, until it is.
func TestImporting(t *testing.T) {
	t.Parallel()
	log := openLog(t)
	if err := log.Importing(t.Context()); err != nil {
		t.Error(err)
	}
	o, all := originOf(3)
	o.Partitions = log.Partitions()
	i := begin(t, log.js, o)
	addAll(t, i, all)
	var unfinished *UnfinishedImportError
	if err := log.Importing(t.Context()); !errors.As(err, &unfinished) || unfinished.Through != 3 || !errors.Is(err, ErrUnfinishedImport) {
		t.Error(err)
	}
	if _, err := i.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := log.Importing(t.Context()); err != nil {
		t.Error(err)
	}
}
