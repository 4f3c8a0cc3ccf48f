package gateway_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"holdmetrics/gateway"
	"holdmetrics/gateway/gatewaytest"
	holdpb "holdmetrics/proto"
)

// No client makes series: whatever it sends as ids, fields, paths, methods and queries,
// there are as many after a thousand as after a hundred.
func TestHostileClientsMakeNoSeries(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.TokenLabels = gateway.TokenLabels{Most: 3} })
	random := rand.New(rand.NewPCG(1, 2))
	junk := func() string {
		b := make([]byte, 1+random.IntN(12))
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyz0123456789{}=,\"_"[random.IntN(42)]
		}
		return string(b)
	}
	series := func() map[string]bool {
		families, err := w.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]bool{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				all[fmt.Sprint(f.GetName(), m.GetLabel())] = true
			}
		}
		return all
	}
	abuse := func() {
		word := junk()
		quoted := strings.ReplaceAll(word, `"`, `\"`)
		gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", fmt.Sprintf(`{"token_id":"%s","holder_id":"%s","start":5}`, quoted, quoted))
		gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", fmt.Sprintf(`{"token_id":"t","holder_id":"h","start":5,"x%s":1}`, quoted))
		gatewaytest.Do(t, http.MethodPost, w.Url+"/holds", fmt.Sprintf("{\"token_id\":\"%s\",\"holder_id\":\"h\",\"start\":5}\n%s\n", quoted, word))
		gatewaytest.Do(t, http.MethodGet, w.Url+"/x"+strings.Trim(word, `{}="`)+"?a="+strings.Trim(word, `{}="`), "")
		w.Metrics().Record(t.Context(), &holdpb.HoldMsg{TokenId: word, HolderId: word, Start: gatewaytest.GoodEvent(1).Start})
		_ = w.Conn.Invoke(t.Context(), "/poh.HoldMetrics/"+strings.Trim(word, `{}="`), &holdpb.HoldMsg{}, &holdpb.HoldAck{}, grpc.StaticMethod())
		r, err := http.NewRequestWithContext(t.Context(), "X"+strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' {
				return r - 'a' + 'A'
			}
			return -1
		}, word), w.Url+"/stats", nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
		}
	}
	for range 30 {
		abuse()
	}
	before := series()
	for range 170 {
		abuse()
	}
	after := series()
	for s := range after {
		if !before[s] {
			t.Errorf("another series of %d: %s", len(after), s)
		}
	}
	if len(after) > 600 {
		t.Errorf("%d series", len(after))
	}
}

// Where a trace is known, histograms show it, to whom asks for OpenMetrics.
func TestExemplars(t *testing.T) {
	t.Parallel()
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.TraceID = func(context.Context) string { return id } })
	if _, err := w.Metrics().Record(t.Context(), gatewaytest.GoodEvent(1)); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(string(body), "# EOF\n") {
		t.Errorf("%s, not OpenMetrics", kind)
	}
	for _, name := range []string{"holdmetrics_gateway_acknowledgement_duration_seconds_bucket", "holdmetrics_gateway_request_duration_seconds_bucket"} {
		found := false
		for line := range strings.Lines(string(body)) {
			found = found || strings.HasPrefix(line, name) && strings.Contains(line, `# {trace_id="`+id+`"}`)
		}
		if !found {
			t.Errorf("no exemplar of %s", name)
		}
	}
	if plain := string(gatewaytest.Get(t, w, "/metrics", 200)); strings.Contains(plain, "trace_id") {
		t.Error("the plain format has exemplars")
	}
}
