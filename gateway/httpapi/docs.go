package httpapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"slices"
	"sort"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsHTML string

// docsPage renders the OpenAPI document as one page that needs nothing from
// elsewhere: no script, no font, no request.
func docsPage(api *huma.OpenAPI) ([]byte, error) {
	t, err := template.New("docs").Parse(docsHTML)
	if err != nil {
		return nil, err
	}
	d := docs{Title: api.Info.Title, Version: api.Info.Version, About: api.Info.Description}
	for path, item := range api.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post} {
			if op != nil {
				d.Operations = append(d.Operations, docOperation(api, path, op))
			}
		}
	}
	slices.SortFunc(d.Operations, func(a, b docsOperation) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	for name, schema := range api.Components.Schemas.Map() {
		d.Schemas = append(d.Schemas, docsSchema{Name: name, Fields: docFields(api, schema)})
	}
	sort.Slice(d.Schemas, func(i, j int) bool { return d.Schemas[i].Name < d.Schemas[j].Name })
	var page bytes.Buffer
	err = t.Execute(&page, d)
	return page.Bytes(), err
}

// What the template shows.
type (
	docs struct {
		Title, Version, About string
		Operations            []docsOperation
		Schemas               []docsSchema
	}
	docsOperation struct {
		Method, Path, ID, Summary, About string
		Parameters                       []docsField
		Body, Kind                       string // schema and media type; empty: none
		Examples                         []docsExample
		Responses                        []docsResponse
	}
	docsExample  struct{ Name, Summary, Value string }
	docsResponse struct{ Code, About, Type, Schema string }
	docsSchema   struct {
		Name   string
		Fields []docsField
	}
	docsField struct {
		Name, Where, Type, Link, About string
		Required                       bool
	}
)

func docOperation(api *huma.OpenAPI, path string, op *huma.Operation) docsOperation {
	d := docsOperation{Method: op.Method, Path: path, ID: op.OperationID, Summary: op.Summary, About: op.Description}
	for _, p := range op.Parameters {
		kind, link := typeName(api, p.Schema)
		d.Parameters = append(d.Parameters, docsField{Name: p.Name, Where: p.In, Type: kind, Link: link, About: p.Description, Required: p.Required})
	}
	if op.RequestBody != nil {
		for kind, media := range op.RequestBody.Content {
			d.Kind = kind
			d.Body, _ = typeName(api, media.Schema)
			for name, example := range media.Examples {
				value, ok := example.Value.(string) // what is no JSON document is shown as it is
				if !ok {
					text, err := json.Marshal(example.Value)
					if err != nil {
						continue
					}
					value = string(text)
				}
				d.Examples = append(d.Examples, docsExample{Name: name, Summary: example.Summary, Value: value})
			}
		}
	}
	sort.Slice(d.Examples, func(i, j int) bool { return d.Examples[i].Name < d.Examples[j].Name })
	for code, response := range op.Responses {
		r := docsResponse{Code: code, About: response.Description}
		for kind, media := range response.Content {
			r.Type = kind
			r.Schema, _ = typeName(api, media.Schema)
		}
		d.Responses = append(d.Responses, r)
	}
	sort.Slice(d.Responses, func(i, j int) bool { return d.Responses[i].Code < d.Responses[j].Code })
	return d
}

func docFields(api *huma.OpenAPI, s *huma.Schema) []docsField {
	var fields []docsField
	for name, property := range s.Properties {
		kind, link := typeName(api, property)
		fields = append(fields, docsField{
			Name: name, Type: kind, Link: link, About: property.Description,
			Required: slices.Contains(s.Required, name),
		})
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	return fields
}

// typeName says a type in a word or two, and where it is described further down.
func typeName(api *huma.OpenAPI, s *huma.Schema) (name, link string) {
	switch {
	case s == nil:
		return "", ""
	case s.Ref != "":
		name = s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return name, name
	case s.Type == huma.TypeArray:
		name, link = typeName(api, s.Items)
		return "array of " + name, link
	case len(s.AnyOf) > 0:
		var forms []string
		for _, form := range s.AnyOf {
			if form.Ref != "" {
				name, _ := typeName(api, form)
				forms = append(forms, name)
				continue
			}
			forms = append(forms, form.Type+" ("+form.Description+")")
		}
		return strings.Join(forms, ", or "), ""
	case s.Format != "":
		return s.Type + " (" + s.Format + ")", ""
	}
	return s.Type, ""
}
