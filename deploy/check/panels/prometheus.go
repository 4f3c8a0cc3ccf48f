package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// points is how many points of a series are asked for.
const points = 240

// prometheus asks a Prometheus by HTTP.
type prometheus struct {
	url  string
	end  time.Time
	span time.Duration
}

// series is a series of a panel.
type series struct {
	name   string
	labels map[string]string
	times  []float64 // Unix, in seconds
	values []float64
}

func (p *prometheus) step() time.Duration { return max(p.span/points, time.Second).Round(time.Second) }

// query returns the series of a query over the time that the panels show, or those of its
// end alone.
func (p *prometheus) query(ctx context.Context, query string, instant bool) ([]series, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  *[2]any
			Values [][2]any
		}
	}
	path, values := "query_range", url.Values{
		"query": {query}, "step": {p.step().String()},
		"start": {p.end.Add(-p.span).Format(time.RFC3339)}, "end": {p.end.Format(time.RFC3339)},
	}
	if instant {
		path, values = "query", url.Values{"query": {query}, "time": {p.end.Format(time.RFC3339)}}
	}
	if err := p.ask(ctx, path, values, &data); err != nil {
		return nil, err
	}
	var all []series
	for _, r := range data.Result {
		if r.Value != nil {
			r.Values = [][2]any{*r.Value}
		}
		s := series{labels: r.Metric}
		for _, v := range r.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("value %q of %s: %w", text, query, err)
			}
			s.times, s.values = append(s.times, at), append(s.values, value)
		}
		all = append(all, s)
	}
	return all, nil
}

// first returns the first value of a label of series, in order.
func (p *prometheus) first(ctx context.Context, match, label string) (string, error) {
	var values []string
	err := p.ask(ctx, "label/"+label+"/values", url.Values{
		"match[]": {match}, "start": {p.end.Add(-p.span).Format(time.RFC3339)}, "end": {p.end.Format(time.RFC3339)},
	}, &values)
	if err != nil {
		return "", err
	}
	if len(values) == 0 {
		return "", fmt.Errorf("Prometheus has no series %s: does it scrape holdmetrics?", match)
	}
	return slices.Min(values), nil
}

// ask asks the API, and decodes what it answers.
func (p *prometheus) ask(ctx context.Context, path string, values url.Values, data any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/"+path+"?"+values.Encode(), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking Prometheus: %w", err)
	}
	defer answer.Body.Close()
	var result struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(answer.Body).Decode(&result); err != nil {
		return fmt.Errorf("%s: %s: %w", request.URL.Path, answer.Status, err)
	}
	if result.Status != "success" {
		return fmt.Errorf("Prometheus refuses %s: %s", values.Get("query"), result.Error)
	}
	return json.Unmarshal(result.Data, data)
}
