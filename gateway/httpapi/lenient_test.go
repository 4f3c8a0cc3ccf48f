package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"holdmetrics/gateway/gatewaytest"
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
		want := fmt.Sprintf(`# HELP holdmetrics_gateway_fields_ignored_total Fields of events in JSON that no event has and that were ignored, by endpoint (door).
# TYPE holdmetrics_gateway_fields_ignored_total counter
holdmetrics_gateway_fields_ignored_total{door="http_hold"} %d
holdmetrics_gateway_fields_ignored_total{door="http_holds"} %d
`, ignored, ignored)
		if err := testutil.GatherAndCompare(w.Registry, strings.NewReader(want), "holdmetrics_gateway_fields_ignored_total"); err != nil {
			t.Errorf("lenient %v: %v", lenient, err)
		}
	}
}
