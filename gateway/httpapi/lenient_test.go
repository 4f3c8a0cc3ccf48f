package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	holdpb "holdmetrics/proto"
)

// Fields whose name begins with an underscore mean nothing here, and others are
// ignored only where a server is lenient. What is ignored is counted.
func TestFieldsThatNoEventHas(t *testing.T) {
	t.Parallel()
	const (
		event   = `{"token_id":"t","holder_id":"h","start":5`
		under   = event + `,"_id":{"$oid":"6","x":["}",{"a":null}]},"_":1,"_class":"a.b"}`
		unknown = event + `,"meta":{"a":[1,2,"\"]"]},"wieght":3}`
		twice   = event + `,"start":6}`
		damaged = event + `,"_id":{"a":}}`
	)
	for _, lenient := range []bool{false, true} {
		w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.HTTP.Lenient = lenient })
		accepted := map[string]bool{event + "}": true, under: true, unknown: lenient, twice: false, damaged: false}
		var lines []string
		good := 0
		for body, taken := range accepted {
			want := http.StatusUnprocessableEntity
			if lines = append(lines, body); taken {
				good++
				want = http.StatusAccepted
			}
			if resp, answer := gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", body); resp.StatusCode != want {
				t.Errorf("lenient %v, %s: %d %s", lenient, body, resp.StatusCode, answer)
			}
		}
		resp, answer := gatewaytest.Do(t, http.MethodPost, w.Url+"/holds", strings.Join(lines, "\n"))
		if want := fmt.Sprintf(`"accepted":%d,"refused":%d`, good, len(lines)-good); resp.StatusCode != 200 || !strings.Contains(string(answer), want) {
			t.Errorf("lenient %v: %d %s; want %s", lenient, resp.StatusCode, answer, want)
		}
		ignored := 3
		if lenient {
			ignored += 2
		}
		want := fmt.Sprintf(`# HELP holdmetrics_gateway_fields_ignored_total Fields of JSON events that no event has and that were ignored.
# TYPE holdmetrics_gateway_fields_ignored_total counter
holdmetrics_gateway_fields_ignored_total{endpoint="http_hold"} %d
holdmetrics_gateway_fields_ignored_total{endpoint="http_holds"} %d
`, ignored, ignored)
		if err := testutil.GatherAndCompare(w.Registry, strings.NewReader(want), "holdmetrics_gateway_fields_ignored_total"); err != nil {
			t.Errorf("lenient %v: %v", lenient, err)
		}
	}
}

// An event that changes nothing is accepted with a note, and so is its line.
func TestNotesOfEvents(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	event := func(revision int) string {
		return fmt.Sprintf(`{"token_id":"t","holder_id":"h","start":5,"hold_id":"lot","revision":%d}`, revision)
	}
	const note = `changes nothing: revision 2 of this hold_id takes precedence; send a greater revision`
	for _, c := range []struct {
		revision int
		want     string
	}{
		{2, `{"status":"accepted","position":1}`},
		{1, `{"status":"accepted","position":2,"note":"` + note + `"}`},
		{3, `{"status":"accepted","position":3}`},
	} {
		resp, body := gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", event(c.revision))
		if got := strings.TrimSpace(string(body)); resp.StatusCode != http.StatusAccepted || got != c.want {
			t.Errorf("revision %d: %d %s", c.revision, resp.StatusCode, got)
		}
	}
	resp, body := gatewaytest.Do(t, http.MethodPost, w.Url+"/holds", event(4)+"\n{}\n"+event(2)+"\n"+event(4)+"\n")
	want := `{"line":2,"field":"token_id","error":"token_id is required"}` + "\n" +
		`{"line":3,"note":"` + strings.Replace(note, "2", "4", 1) + `"}` + "\n" +
		`{"accepted":3,"refused":1,"noted":1,"position":6}` + "\n"
	if resp.StatusCode != http.StatusOK || string(body) != want {
		t.Errorf("%d %s; want %s", resp.StatusCode, body, want)
	}

	batches, err := w.Metrics().BroadcastBatch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lot := func(revision uint64) *holdpb.HoldMsg {
		return &holdpb.HoldMsg{TokenId: "t", HolderId: "h", HoldId: "lot", Revision: revision, Start: fakes.Seconds(5)}
	}
	if err := batches.Send(&holdpb.HoldBatch{Events: []*holdpb.HoldMsg{lot(4), {}, lot(1)}}); err != nil {
		t.Fatal(err)
	}
	ack, err := batches.Recv()
	if err != nil || ack.Accepted != 2 || len(ack.Notes) != 1 || ack.Notes[0].Index != 2 || !strings.Contains(ack.Notes[0].Note, "revision 4") {
		t.Errorf("%v %v", ack, err)
	}
	stream, err := w.Metrics().Broadcast(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range []uint64{1, 5} {
		if err := stream.Send(lot(revision)); err != nil {
			t.Fatal(err)
		}
		if ack, err := stream.Recv(); err != nil || !ack.Ok || (ack.Note != "") != (revision == 1) {
			t.Errorf("%v %v", ack, err)
		}
	}
	if ack, err := w.Metrics().Record(t.Context(), lot(2)); err != nil || !strings.Contains(ack.GetNote(), "revision 5") {
		t.Errorf("%v %v", ack, err)
	}
}
