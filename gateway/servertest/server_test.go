package servertest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/internal/testwait"
	holdpb "holdmetrics/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// TestReopen closes a server and opens it again on its directory: what it
// acknowledged is there, by gRPC and by HTTP.
func TestReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Metrics().Record(t.Context(), &holdpb.HoldMsg{
		TokenId: "GOLD", HolderId: "alice", Start: &timestamppb.Timestamp{Seconds: 100}, End: &timestamppb.Timestamp{Seconds: 110},
	})
	if err := errors.Join(err, s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}

	if s, err = Open(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	scores, err := s.Query().Scores(t.Context(), &holdpb.ScoresRequest{})
	if err != nil {
		t.Fatal(err)
	}
	row, err := scores.Recv()
	if err != nil || row.GetHolderId() != "alice" || row.GetSettledScore() != "10" {
		t.Fatalf("%v, %v, want alice with 10", row, err)
	}
	if _, err := scores.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want the end", err)
	}
	answer := httptest.NewRecorder()
	s.Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if answer.Code != http.StatusOK {
		t.Errorf("/readyz answers %d: %s", answer.Code, answer.Body)
	}
}

// TestOpenFails leaves nothing running behind an error.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), t.TempDir()+"/\x00")
	if err == nil {
		t.Fatal(s.Close(), "want an error")
	}
}

// TestStart ends with its test.
func TestStart(t *testing.T) {
	t.Parallel()
	s := Start(t)
	if _, err := s.Query().HealthCheck(t.Context(), &holdpb.Empty{}); err != nil {
		t.Error(err)
	}
}
