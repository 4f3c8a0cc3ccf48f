package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

type importingLog struct{ fakes.Log }

func (*importingLog) Importing(context.Context) error {
	return &ingest.UnfinishedImportError{LogID: "origin", Through: 9, Last: 4}
}

// While an import fills the log, that is what is named, and no disk and no worker.
func TestSlowForAnImport(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Log = &importingLog{fakes.Log{Size: 4, Ends: map[int]uint64{0: 4}}}
		w.Cfg.Producer = &fakes.Producer{Full: true}
		w.Cfg.RecordWait, w.Cfg.Freshness = time.Millisecond, time.Millisecond
		w.Cfg.WaitApplied = func(ctx context.Context, _ int, _ uint64) error {
			<-ctx.Done()
			return ctx.Err()
		}
	})
	named := func(text string) {
		t.Helper()
		if !strings.Contains(text, "it has 4 of 9 messages of log origin") || strings.Contains(text, "disk") || strings.Contains(text, "worker") {
			t.Error(text)
		}
	}
	_, err := holdpb.NewHoldMetricsClient(w.Conn).Record(t.Context(), &holdpb.HoldMsg{TokenId: "T", HolderId: "h"})
	if status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	named(err.Error())
	answer, err := http.Get(w.Url + "/stats?as_of=2023-01-01T00:00:00Z")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Error(answer.Status)
	}
	named(string(body))
}
