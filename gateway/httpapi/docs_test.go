package httpapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
)

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Responses   map[string]struct{ Description string }
			RequestBody struct {
				Content map[string]struct {
					Schema   map[string]any
					Examples map[string]struct{ Value json.RawMessage }
				}
			}
		}
		Components struct{ Schemas map[string]json.RawMessage }
	}
	raw := gatewaytest.Get(t, w, "/openapi.json", 200)
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") || doc.Info.Title == "" || doc.Info.Version == "" {
		t.Errorf("openapi %q, info %+v", doc.OpenAPI, doc.Info)
	}
	for path, method := range map[string]string{"/hold": "post", "/holds": "post", "/stats": "get", "/stats/{holder}": "get",
		"/stats/watch": "get", "/top": "get", "/stats/{holder}/rank": "get", "/scores": "get", "/stats/{holder}/holds": "get", "/stats/{holder}/history": "get", "/status": "get",
		"/healthz": "get", "/readyz": "get"} {
		op, ok := doc.Paths[path][method]
		if !ok || op.OperationID == "" || len(op.Responses) == 0 {
			t.Errorf("%s %s is not documented", method, path)
		}
		for code, r := range op.Responses {
			if r.Description == "" {
				t.Errorf("%s %s: answer %s has no description", method, path, code)
			}
		}
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]*)"`).FindAllSubmatch(raw, -1) {
		if doc.Components.Schemas[string(ref[1])] == nil {
			t.Errorf("schema %s is missing", ref[1])
		}
	}
	for _, name := range []string{"holder_id", "score", "applied_through", "score_exact", "weight_exact"} {
		if !bytes.Contains(raw, []byte(`"`+name+`":{`)) {
			t.Errorf("field %s is not documented", name)
		}
	}
	if bytes.Contains(raw, []byte(`"$schema":{`)) {
		t.Error("answers are said to carry $schema")
	}
	examples := doc.Paths["/hold"]["post"].RequestBody.Content["application/json"].Examples
	if len(examples) < 4 {
		t.Errorf("%d examples", len(examples))
	}
	for name, example := range examples {
		if resp, body := gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", string(example.Value)); resp.StatusCode != 202 {
			t.Errorf("example %s: %d %s", name, resp.StatusCode, body)
		}
	}
}

func TestDocsAskForNothingElsewhere(t *testing.T) {
	t.Parallel()
	page := string(gatewaytest.Get(t, gatewaytest.NewWorld(t), "/docs", 200))
	for _, want := range []string{"POST /hold", "POST /holds", "HoldsSummary", "application/x-ndjson", "GET /stats/{holder}", "as_of", "/openapi.json", "HoldBody", "429"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not mention %s", want)
		}
	}
	for _, bad := range []string{"<script", "<link", "src=", "@import", "url("} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
}

// What the document says of answers is what they are: it names every field that
// comes, and every field that it requires does.
func TestAnswersAreAsDocumented(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	const now = fakes.TestNow / 1e9
	r.Take(fakes.Held("x", "alice", now-100, now-50, 2), fakes.OpenHold("y", "alice", now-300, 0.5), fakes.OpenHold("x", "bob", now-10, 1))
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct{ Schema map[string]any }
			}
		}
		Components struct{ Schemas map[string]map[string]any }
	}
	if err := json.Unmarshal(gatewaytest.Get(t, r.World, "/openapi.json", 200), &doc); err != nil {
		t.Fatal(err)
	}
	var check func(where string, schema map[string]any, value any)
	check = func(where string, schema map[string]any, value any) {
		if ref, ok := schema["$ref"].(string); ok {
			schema = doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
		}
		switch value := value.(type) {
		case []any:
			items, _ := schema["items"].(map[string]any)
			for _, v := range value {
				check(where+"[]", items, v)
			}
		case map[string]any:
			properties, _ := schema["properties"].(map[string]any)
			for name, v := range value {
				property, ok := properties[name].(map[string]any)
				if !ok {
					t.Errorf("%s.%s is not documented", where, name)
					continue
				}
				check(where+"."+name, property, v)
			}
			required, _ := schema["required"].([]any)
			for _, name := range required {
				if _, ok := value[name.(string)]; !ok {
					t.Errorf("%s.%s is said to be there", where, name)
				}
			}
		}
	}
	for path, documented := range map[string]string{
		"/stats": "/stats", "/stats?as_of=5": "/stats", "/scores?share=true&from=5": "/scores",
		"/stats/alice?share=true&from=5": "/stats/{holder}", "/stats/alice/holds": "/stats/{holder}/holds",
		"/stats/alice/history?points=2": "/stats/{holder}/history", "/stats/alice/rank": "/stats/{holder}/rank",
		"/top?by=live": "/top", "/top?limit=1": "/top", "/status": "/status", "/healthz": "/healthz", "/readyz": "/readyz",
	} {
		var value any
		if err := json.Unmarshal(gatewaytest.Get(t, r.World, path, 200), &value); err != nil {
			t.Fatal(err)
		}
		check("GET "+path, doc.Paths[documented]["get"].Responses["200"].Content["application/json"].Schema, value)
	}
}
