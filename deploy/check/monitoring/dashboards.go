package monitoring

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Dashboard is a dashboard of Grafana, as its JSON has it.
type Dashboard struct {
	UID           string         `json:"uid"`
	Title         string         `json:"title"`
	Description   string         `json:"description"`
	Tags          []string       `json:"tags"`
	Editable      bool           `json:"editable"`
	SchemaVersion int            `json:"schemaVersion"`
	Version       int            `json:"version"`
	Refresh       string         `json:"refresh"`
	Time          map[string]any `json:"time"`
	Links         []any          `json:"links"`
	Templating    Templating     `json:"templating"`
	Panels        []Panel        `json:"panels"`
}

// Templating is the variables of a dashboard.
type Templating struct {
	List []Variable `json:"list"`
}

// Variable is a variable of a dashboard: a data source, or the values of a label.
type Variable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"`
	Query      string      `json:"query"`
	Datasource *Datasource `json:"datasource,omitempty"`
	Refresh    int         `json:"refresh,omitempty"`
	Multi      bool        `json:"multi"`
	IncludeAll bool        `json:"includeAll"`
	AllValue   string      `json:"allValue,omitempty"`
	Sort       int         `json:"sort,omitempty"`
}

// Datasource names where data comes from.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is a panel of a dashboard.
type Panel struct {
	ID          int            `json:"id"`
	Type        string         `json:"type"`
	Title       string         `json:"title"`
	Description string         `json:"description"`
	Datasource  Datasource     `json:"datasource"`
	GridPos     GridPos        `json:"gridPos"`
	FieldConfig map[string]any `json:"fieldConfig"`
	Options     map[string]any `json:"options"`
	Targets     []Target       `json:"targets"`
}

// GridPos is where a panel is, in a grid of 24 columns.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Target is a query of a panel.
type Target struct {
	RefID        string     `json:"refId"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat"`
	Instant      bool       `json:"instant,omitempty"` // the value of now alone, so that one of the past is not taken for it
	Datasource   Datasource `json:"datasource"`
}

// source is the data source that an operator chooses at the top of a dashboard.
var source = Datasource{"prometheus", "${datasource}"}

// builder puts panels side by side, and below one another where a row is full.
type builder struct {
	d         Dashboard
	x, y, row int
}

func newDashboard(uid, title, description string, variables ...Variable) *builder {
	b := &builder{d: Dashboard{
		UID: uid, Title: title, Description: description, Tags: []string{"holdmetrics"}, Editable: true, SchemaVersion: 39, Version: 1, Refresh: "30s",
		Time: map[string]any{"from": "now-1h", "to": "now"},
		Links: []any{map[string]any{
			"type": "dashboards", "title": "holdmetrics", "tags": []string{"holdmetrics"}, "asDropdown": true, "includeVars": true, "keepTime": true,
		}},
	}}
	b.d.Templating.List = append([]Variable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus"},
		valuesOf("job", "Job", "holdmetrics_build_info", false),
	}, variables...)
	return b
}

// valuesOf is a variable with the values of a label of a metric, of the chosen job.
func valuesOf(label, title, metric string, multi bool) Variable {
	selector := metric
	if label != "job" {
		selector += `{job="$job"}`
	}
	v := Variable{
		Name: label, Label: title, Type: "query", Query: fmt.Sprintf("label_values(%s, %s)", selector, label),
		Datasource: &source, Refresh: 2, Multi: multi, IncludeAll: multi, Sort: 3,
	}
	if multi {
		v.AllValue = ".*"
	}
	return v
}

// query is an expression with the legend of its lines.
type query struct{ expr, legend string }

func (b *builder) add(kind, title, description, unit string, width, height int, options map[string]any, queries ...query) {
	if b.x+width > 24 {
		b.x, b.y, b.row = 0, b.y+b.row, 0
	}
	p := Panel{
		ID: len(b.d.Panels) + 1, Type: kind, Title: title, Description: description, Datasource: source,
		GridPos: GridPos{H: height, W: width, X: b.x, Y: b.y}, Options: options,
		FieldConfig: map[string]any{"defaults": map[string]any{"unit": unit}, "overrides": []any{}},
	}
	for i, q := range queries {
		p.Targets = append(p.Targets, Target{RefID: string(rune('A' + i)), Expr: q.expr, LegendFormat: q.legend, Datasource: source})
	}
	b.d.Panels = append(b.d.Panels, p)
	b.x, b.row = b.x+width, max(b.row, height)
}

// number is a panel with one figure, that of now. From bad on it is red.
func (b *builder) number(title, description, unit string, bad float64, expr string) {
	b.figure(title, description, unit, expr, colour("green", nil), colour("red", bad))
}

// atLeast is a panel with one figure, that of now. Below good it is red.
func (b *builder) atLeast(title, description, unit string, good float64, expr string) {
	b.figure(title, description, unit, expr, colour("red", nil), colour("green", good))
}

// colour is a colour of a figure, and the value from which on it counts.
func colour(name string, from any) map[string]any {
	return map[string]any{"color": name, "value": from}
}

func (b *builder) figure(title, description, unit, expr string, steps ...map[string]any) {
	b.add("stat", title, description, unit, 4, 4, map[string]any{
		"colorMode": "value", "graphMode": "none", "reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}, query{expr, ""})
	p := &b.d.Panels[len(b.d.Panels)-1]
	p.Targets[0].Instant = true
	p.FieldConfig["defaults"].(map[string]any)["thresholds"] = map[string]any{"mode": "absolute", "steps": steps}
}

// lines is a panel with a line for each series.
func (b *builder) lines(title, description, unit string, queries ...query) {
	b.add("timeseries", title, description, unit, 12, 8, map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}, queries...)
}

func (b *builder) json() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(&b.d)
	return out.Bytes(), err
}

// percentiles are the 50th and 99th of a histogram, by labels.
func percentiles(metric, selector, by string) []query {
	labels, legend := "le", ""
	if by != "" {
		labels, legend = "le, "+by, " {{"+by+"}}"
	}
	of := func(q, name string) query {
		return query{fmt.Sprintf("histogram_quantile(%s, sum by (%s) (rate(%s_bucket{%s}[$__rate_interval])))", q, labels, metric, selector), name + legend}
	}
	return []query{of("0.5", "half"), of("0.99", "99 of 100")}
}

const job = `job="$job"`

// Dashboards returns the JSON of all dashboards, by file name.
func Dashboards() (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, b := range map[string]*builder{
		"overview.json": overview(), "partition.json": onePartition(), "servers.json": servers(), "store.json": store(),
	} {
		text, err := b.json()
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	return files, nil
}

func overview() *builder {
	b := newDashboard("holdmetrics-overview", "holdmetrics", "The whole: is anything wrong, and where")
	b.number("Down or not ready", "Processes that do not answer Prometheus, or say at /readyz that they are not ready.", "short", 1, `count(up{`+job+`} == 0 or holdmetrics_ready{`+job+`} == 0) or vector(0)`)
	b.number("Alerts", "Alerts of holdmetrics that fire.", "short", 1, `count(ALERTS{alertname=~"Holdmetrics.*",alertstate="firing"}) or vector(0)`)
	b.number("Lag", "Of the partition that is furthest behind.", "s", 60, `max(job:holdmetrics_lag_seconds:max{`+job+`})`)
	b.number("Partitions without an owner", "Their events are accepted and not applied.", "short", 1, `max(job:holdmetrics_partitions_unowned:count{`+job+`})`)
	b.number("Partitions failed", "They need an operator.", "short", 1, `sum(holdmetrics_partition_failed{`+job+`})`)
	b.number("Age of the last backup", "Of the running system.", "s", 93600, `time() - max(holdmetrics_backup_last_timestamp_seconds{`+job+`} > 0)`)
	b.lines("Alerts that fire", "Each has a section in docs/runbooks.md.", "short", query{`count by (alertname) (ALERTS{alertname=~"Holdmetrics.*",alertstate="firing"})`, "{{alertname}}"})
	b.lines("Processes", "That answer Prometheus, and that are ready.", "short", query{`sum(up{` + job + `})`, "answer"}, query{`sum(holdmetrics_ready{` + job + `})`, "ready"})
	b.lines("Events", "Accepted by the servers, and applied by the workers, a second.", "ops",
		query{`job:hold_events:rate5m{` + job + `}`, "accepted"}, query{`job:holdmetrics_events_applied:rate5m{` + job + `}`, "applied, generation {{generation}}"})
	b.lines("Not taken", "Refused for their content, and not taken though valid, a second.", "ops",
		query{`job:holdmetrics_gateway_events_refused:rate5m{` + job + `} > 0`, "refused: {{reason}}"}, query{`job:holdmetrics_gateway_events_failed:rate5m{` + job + `} > 0`, "failed: {{reason}}"})
	b.lines("Acknowledgement, 99 of 100", "From an event or a batch to its acknowledgement.", "s",
		query{`job_endpoint:holdmetrics_gateway_acknowledgement_duration_seconds:p99{` + job + `}`, "{{endpoint}}"})
	b.lines("Lag", "How far log time is behind the clock, of the worst partition.", "s", query{`job:holdmetrics_lag_seconds:max{` + job + `}`, "generation {{generation}}"})
	b.lines("Growth of live scores", "Weight-seconds a second, over all holders. A jump is a wrong weight, or an import.", "short", query{`job:hold_score_seconds:rate5m{` + job + `}`, "generation {{generation}}"})
	b.lines("Dead letters", "Events of the log that were refused, in 5 minutes.", "short", query{`sum by (reason) (increase(holdmetrics_events_rejected_total{` + job + `}[5m])) > 0`, "{{reason}}"})
	b.lines("Processor", "Cores that each process uses.", "short", query{`rate(process_cpu_seconds_total{` + job + `}[$__rate_interval])`, "{{instance}}"})
	b.lines("Memory", "Resident memory, and the limit that caches go by.", "bytes", query{`process_resident_memory_bytes{` + job + `}`, "{{instance}}"}, query{`holdmetrics_memory_limit_bytes{` + job + `} > 0`, "limit of {{instance}}"})
	b.lines("Replicas that are not current", "Of the streams that must not be lost.", "short", query{`max by (stream) (holdmetrics_stream_replicas_configured{` + job + `}) - max by (stream) (holdmetrics_stream_replicas{` + job + `,state="current"})`, "{{stream}}"})
	b.lines("Programs", "Versions that run, by what they run as.", "short", query{`count by (role, version) (holdmetrics_build_info{` + job + `})`, "{{role}} {{version}}"})
	return b
}

func onePartition() *builder {
	b := newDashboard("holdmetrics-partition", "holdmetrics: one partition", "What one partition does, of one generation",
		valuesOf("generation", "Generation", "holdmetrics_partition_owned", false), valuesOf("partition", "Partition", "holdmetrics_partition_owned", false))
	const of = job + `,generation="$generation",partition="$partition"`
	b.figure("Owner", "Processes that work on it: one is right.", "short", `sum(holdmetrics_partition_owned{`+of+`}) or vector(0)`, colour("red", nil), colour("green", 1), colour("red", 2))
	b.number("Failed", "It has stopped for good.", "short", 1, `max(holdmetrics_partition_failed{`+of+`})`)
	b.number("Stuck", "At one piece of work for more than 10 seconds.", "short", 1, `max(holdmetrics_partition_stuck{`+of+`})`)
	b.number("Tries again", "Something fails and is tried again.", "short", 1, `max(holdmetrics_partition_retrying{`+of+`})`)
	b.number("Lag in messages", "Messages that are not applied.", "short", 1000, `max(holdmetrics_lag_messages{`+of+`})`)
	b.number("Lag in events", "Events that are not applied, some estimated.", "short", 100000, `max(holdmetrics_lag_events{`+of+`})`)
	b.lines("Positions", "Applied, stored and published. They go on together.", "short",
		query{`max(holdmetrics_applied_position{` + of + `})`, "applied"}, query{`max(holdmetrics_stored_position{` + of + `})`, "stored"}, query{`max(holdmetrics_published_position{` + of + `})`, "published"})
	b.lines("Lag", "How far log time is behind the clock.", "s", query{`job_partition:holdmetrics_lag_seconds:max{` + of + `}`, "lag"})
	b.lines("Events", "Applied a second, and those of them that changed nothing.", "ops",
		query{`sum(rate(holdmetrics_events_applied_total{` + of + `}[$__rate_interval]))`, "applied"}, query{`sum(rate(holdmetrics_events_duplicate_total{` + of + `}[$__rate_interval]))`, "duplicates"}, query{`sum(rate(holdmetrics_events_excluded_total{` + of + `}[$__rate_interval]))`, "of excluded holders"})
	b.lines("Snapshots", "Published a second, and replaced because they differed from the store.", "ops",
		query{`sum(rate(holdmetrics_snapshots_published_total{` + of + `}[$__rate_interval]))`, "published"}, query{`sum(rate(holdmetrics_snapshots_replaced_total{` + of + `}[$__rate_interval]))`, "replaced"})
	b.lines("Memory", "Pairs and holders in memory, and what is not stored yet.", "bytes", query{`sum(holdmetrics_cache_bytes{` + of + `})`, "cache"}, query{`sum(holdmetrics_dirty_bytes{` + of + `})`, "not stored"})
	b.lines("Owner and epoch", "The epoch rises with each owner.", "short", query{`holdmetrics_partition_epoch{` + of + `}`, "{{instance}}"})
	return b
}

func servers() *builder {
	b := newDashboard("holdmetrics-servers", "holdmetrics: servers", "gRPC and HTTP: what clients ask, and what they get", valuesOf("instance", "Server", "holdmetrics_gateway_watchers", true))
	const of = job + `,instance=~"$instance"`
	b.atLeast("Takes events", "0: the disk, the brokers or the log keep them out.", "short", 1, `min(holdmetrics_log_writable{`+of+`})`)
	b.number("Watchers", "Clients that watch.", "short", 1000000, `sum(holdmetrics_gateway_watchers{`+of+`})`)
	b.number("Streams", "Open gRPC streams.", "short", 1000000, `sum(holdmetrics_gateway_streams_open{`+of+`}) or vector(0)`)
	b.number("Waiting for the log", "Accepted events without an acknowledgement yet.", "short", 60000, `sum(holdmetrics_pending_events{`+of+`})`)
	b.atLeast("Certificate", "Time until the first certificate runs out.", "s", 14*86400, `min(holdmetrics_certificate_expiry_timestamp_seconds{`+of+`}) - time()`)
	b.number("Switches", "Of generations, since the start.", "short", 1000000, `max(holdmetrics_gateway_generation_switches_total{`+of+`})`)
	b.lines("Requests", "Answered a second, by API and code.", "reqps", query{`sum by (api, code) (rate(holdmetrics_gateway_requests_total{` + of + `}[$__rate_interval]))`, "{{api}} {{code}}"})
	b.lines("Slowest methods", "99 of 100 requests are faster.", "s", query{`topk(8, histogram_quantile(0.99, sum by (le, method) (rate(holdmetrics_gateway_request_duration_seconds_bucket{` + of + `}[$__rate_interval]))))`, "{{method}}"})
	b.lines("Events accepted", "A second, by endpoint.", "ops", query{`sum by (endpoint) (rate(holdmetrics_gateway_events_accepted_total{` + of + `}[$__rate_interval]))`, "{{endpoint}}"})
	b.lines("Events refused and failed", "A second, by reason.", "ops", query{`sum by (reason) (rate(holdmetrics_gateway_events_refused_total{` + of + `}[$__rate_interval])) > 0`, "refused: {{reason}}"}, query{`sum by (reason) (rate(holdmetrics_gateway_events_failed_total{` + of + `}[$__rate_interval])) > 0`, "failed: {{reason}}"})
	b.lines("Acknowledgement", "From an event or a batch to its acknowledgement.", "s", percentiles("holdmetrics_gateway_acknowledgement_duration_seconds", of, "endpoint")...)
	b.lines("The log's own answer", "From the publish of a frame to its acknowledgement.", "s", percentiles("holdmetrics_log_publish_duration_seconds", of, "")...)
	b.lines("Events of a frame", "Fuller frames: the log is the bottleneck.", "short", percentiles("holdmetrics_frame_events", of, "")...)
	b.lines("Waiting for the log", "Bytes beside their bound, at which callers wait.", "bytes", query{`holdmetrics_pending_bytes{` + of + `}`, "{{instance}}"}, query{`holdmetrics_pending_limit_bytes{` + of + `}`, "bound of {{instance}}"})
	b.lines("Watches", "Updates sent a second, and watchers that were dropped in 5 minutes.", "short", query{`sum by (api) (rate(holdmetrics_gateway_watch_updates_total{` + of + `}[$__rate_interval]))`, "updates by {{api}}"}, query{`sum by (api) (increase(holdmetrics_gateway_watchers_stalled_total{` + of + `}[5m]))`, "dropped, by {{api}}"})
	b.lines("Connection to NATS", "Bytes a second, and reconnects in 5 minutes.", "short", query{`rate(holdmetrics_nats_sent_bytes_total{` + of + `}[$__rate_interval])`, "sent by {{instance}}"}, query{`increase(holdmetrics_nats_reconnects_total{` + of + `}[5m])`, "reconnects of {{instance}}"})
	return b
}

func store() *builder {
	b := newDashboard("holdmetrics-store", "holdmetrics: store and log", "Flushes, loads, publishes, the log and the disk", valuesOf("generation", "Generation", "holdmetrics_partition_owned", false))
	const of = job + `,generation="$generation"`
	b.number("Tries again", "Partitions that try something again.", "short", 1, `sum(holdmetrics_partition_retrying{`+of+`})`)
	b.number("Not stored", "Applied and not durable in the store.", "bytes", 1e12, `sum(holdmetrics_dirty_bytes{`+of+`})`)
	b.number("Log", "Size of the log on one server.", "bytes", 1e15, `max(holdmetrics_log_size_bytes{`+job+`})`)
	b.number("Dead letters", "That are kept.", "bytes", 1e12, `max(holdmetrics_dead_letters_size_bytes{`+job+`})`)
	b.number("Log damaged", "Messages are missing or unreadable.", "short", 1, `max(holdmetrics_log_damaged{`+job+`})`)
	b.number("Disk free", "Of the data directory that is fullest.", "bytes", 1e15, `min(holdmetrics_disk_free_bytes{`+job+`})`)
	b.lines("Flush", "With the dead letters that it waits for.", "s", percentiles("holdmetrics_flush_duration_seconds", of, "")...)
	b.lines("Size of a flush", "Estimated.", "bytes", percentiles("holdmetrics_flush_size_bytes", of, "")...)
	b.lines("Load", "Of the pairs and holders of a batch that are not in memory.", "s", percentiles("holdmetrics_load_duration_seconds", of, "")...)
	b.lines("Apply", "A batch of messages, with its load.", "s", percentiles("holdmetrics_apply_duration_seconds", of, "")...)
	b.lines("Publish", "Of snapshots, with their encoding.", "s", percentiles("holdmetrics_publish_duration_seconds", of, "")...)
	b.lines("Failures that are tried again", "In 5 minutes, by what failed.", "short", query{`sum by (target) (increase(holdmetrics_retries_total{` + of + `}[5m]))`, "{{target}}"})
	b.lines("Owners", "Leases that changed, and writes that were fenced off, in 5 minutes.", "short", query{`sum by (change) (increase(holdmetrics_lease_changes_total{` + of + `}[5m]))`, "{{change}}"}, query{`sum(increase(holdmetrics_fences_total{` + of + `}[5m]))`, "fenced"})
	b.lines("Disk", "Free space, and what must be free for events to be taken.", "bytes", query{`holdmetrics_disk_free_bytes{` + job + `}`, "free at {{instance}}"}, query{`holdmetrics_disk_reserve_bytes{` + job + `}`, "reserve of {{instance}}"})
	return b
}
