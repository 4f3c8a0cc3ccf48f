package test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestAddressesOfOddHolders does what docs/api.md says of ids that do not stand
// in a subject or a URL as they are.
func TestAddressesOfOddHolders(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	conn, _ := s.natsConn()
	event := func(holder string) []byte {
		return []byte(`{"token_id":"T","holder_id":"` + holder + `","start":"2026-01-03T00:00:00Z","weight":2}`)
	}
	publish := func(subject, holder string) error {
		m := nats.NewMsg(subject)
		m.Header.Set("Content-Type", "application/json")
		m.Data = event(holder)
		_, err := conn.RequestMsg(m, patience)
		return err
	}
	if err := publish("hold.events.a.b", "a.b"); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a subject that no stream listens to: %v", err)
	}
	if err := publish("hold.events.=YS5i", "a.b"); err != nil {
		t.Error(err)
	}

	run(t, "record", "--server", s.grpc, "--token", "T", "--holder", "team/red", "--start", "2026-01-03T00:00:00Z", "--weight", "2")
	run(t, "stats", "--server", s.grpc) // waits until that is applied
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + strings.TrimPrefix(s.http, "http://") + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for path, want := range map[string]int{
		"/stats/team%2Fred": http.StatusOK,
		"/stats/team/red":   http.StatusNotFound,
		"/stats/a.b?as_of=2026-01-03T02:00:00%2B01:00":      http.StatusOK,
		"/stats/a.b?as_of=2026-01-03T02:00:00Z":             http.StatusOK,
		"/stats/team%2Fred?as_of=2026-01-03T02:00:00+01:00": http.StatusUnprocessableEntity,
	} {
		if code, body := get(path); code != want {
			t.Errorf("%s: %d, want %d: %s", path, code, want, body)
		}
	}
}
