package monitoring

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

const (
	ruleFile   = "../../prometheus/rules.yaml"
	alertFile  = "../../prometheus/alerts.yaml"
	configFile = "../../prometheus/prometheus.yaml"
	runbooks   = "../../../docs/runbooks.md"

	step = 15 * time.Second
)

// of is the labels of a process.
const of = `job="holdmetrics",instance="a:8000"`

// generation is the series that says which generation is read.
const generation = `holdmetrics_gateway_generation_info{` + of + `,generation="1",rules="none"} 1x%d`

// cases are, for each alert, series with which it fires and series with which it does not.
// The series have a sample each 15 seconds; in a text, "1x%d" goes on to the end.
var cases = map[string]struct {
	after       time.Duration // until it fires
	fires       []string
	quiet       []string
	description string // a part of it, when it fires
}{
	"HoldmetricsDown": {
		after: 2 * time.Minute, description: "a:8000",
		fires: []string{`up{` + of + `} 0x%d`},
		quiet: []string{`up{` + of + `} 1x%d`, `up{job="other",instance="b"} 0x%d`},
	},
	"HoldmetricsAbsent": {
		after: 6 * time.Minute, description: "no metrics",
		fires: []string{`up{job="other"} 1x%d`},
		quiet: []string{`holdmetrics_build_info{` + of + `,version="v1"} 1x%d`},
	},
	"HoldmetricsNotReady": {
		after: 6 * time.Minute, description: "/readyz",
		fires: []string{`holdmetrics_ready{` + of + `} 0x%d`},
		quiet: []string{`holdmetrics_ready{` + of + `} 0x8 1x%d`}, // a start takes two minutes
	},
	"HoldmetricsLagGrows": {
		after: 15 * time.Minute, description: "generation 1",
		fires: []string{generation, `holdmetrics_lag_seconds{` + of + `,generation="1",partition="3"} 0+15x%d`},
		// One that catches up, and a rebuild, which is behind of course.
		quiet: []string{generation, `holdmetrics_lag_seconds{` + of + `,generation="1",partition="3"} 9000-15x%d`, `holdmetrics_lag_seconds{` + of + `,generation="2",partition="3"} 0+15x%d`},
	},
	"HoldmetricsPartitionUnowned": {
		after: 3 * time.Minute, description: "1 partitions",
		fires: []string{`holdmetrics_log_partitions{` + of + `} 2x%d`, `holdmetrics_partition_owned{` + of + `,generation="1",partition="0"} 1x%d`},
		// Two workers share the partitions, and a rebuild has not all of its own yet.
		quiet: []string{`holdmetrics_log_partitions{` + of + `} 2x%d`, `holdmetrics_partition_owned{` + of + `,generation="1",partition="0"} 1x%d`,
			`holdmetrics_partition_owned{job="holdmetrics",instance="b",generation="1",partition="1"} 1x%d`, `holdmetrics_partition_owned{` + of + `,generation="2",partition="0"} 1x%d`},
	},
	"HoldmetricsPartitionFailed": {
		after: 0, description: "Partition 7",
		fires: []string{`holdmetrics_partition_failed{` + of + `,generation="1",partition="7"} 1x%d`},
		quiet: []string{`holdmetrics_partition_failed{` + of + `,generation="1",partition="7"} 0x%d`},
	},
	"HoldmetricsPartitionStuck": {
		after: 3 * time.Minute, description: "Partition 7",
		fires: []string{`holdmetrics_partition_stuck{` + of + `,generation="1",partition="7"} 1x%d`},
		quiet: []string{`holdmetrics_partition_stuck{` + of + `,generation="1",partition="7"} 0 1 1 0x%d`},
	},
	"HoldmetricsStoreAway": {
		after: 4 * time.Minute, description: "generation 1",
		fires: []string{`holdmetrics_retries_total{` + of + `,generation="1",target="store"} 0+3x%d`, `holdmetrics_partition_retrying{` + of + `,generation="1",partition="2"} 1x%d`},
		// A failure that was over at once, and an old one.
		quiet: []string{`holdmetrics_retries_total{` + of + `,generation="1",target="store"} 0 5x%d`, `holdmetrics_partition_retrying{` + of + `,generation="1",partition="2"} 0x%d`},
	},
	"HoldmetricsLogAway": {
		after: 2 * time.Minute, description: "a:8000",
		fires: []string{`holdmetrics_log_reachable{` + of + `} 0x%d`, `holdmetrics_nats_connected{` + of + `} 1x%d`},
		quiet: []string{`holdmetrics_log_reachable{` + of + `} 1x%d`, `holdmetrics_nats_connected{` + of + `} 1x%d`},
	},
	"HoldmetricsEventsNotTaken": {
		after: 4 * time.Minute, description: "valid events",
		fires: []string{`holdmetrics_log_writable{` + of + `} 1x%d`, `holdmetrics_gateway_events_failed_total{` + of + `,endpoint="record",reason="busy"} 0+1x%d`},
		// Clients that go away are no failure of ours.
		quiet: []string{`holdmetrics_log_writable{` + of + `} 1x%d`, `holdmetrics_gateway_events_failed_total{` + of + `,endpoint="record",reason="client_gone"} 0+1x%d`},
	},
	"HoldmetricsLogDamaged": {
		after: 0, description: "missing",
		fires: []string{`holdmetrics_log_damaged{` + of + `} 1x%d`},
		quiet: []string{`holdmetrics_log_damaged{` + of + `} 0x%d`},
	},
	"HoldmetricsReplicasBehind": {
		after: 6 * time.Minute, description: "HOLD_EVENTS",
		fires: []string{`holdmetrics_stream_replicas_configured{` + of + `,stream="HOLD_EVENTS"} 3x%d`, `holdmetrics_stream_replicas{` + of + `,stream="HOLD_EVENTS",state="current"} 2x%d`, `holdmetrics_stream_replicas{` + of + `,stream="HOLD_EVENTS",state="offline"} 1x%d`},
		quiet: []string{`holdmetrics_stream_replicas_configured{` + of + `,stream="HOLD_EVENTS"} 3x%d`, `holdmetrics_stream_replicas{` + of + `,stream="HOLD_EVENTS",state="current"} 3x%d`},
	},
	"HoldmetricsDeadLetters": {
		after: time.Minute, description: "reason future",
		fires: []string{`holdmetrics_events_rejected_total{` + of + `,generation="1",reason="future"} 0 0 1x%d`},
		quiet: []string{`holdmetrics_events_rejected_total{` + of + `,generation="1",reason="future"} 12x%d`},
	},
	"HoldmetricsDeadLettersFull": {
		after: 0, description: "oldest",
		fires: []string{`holdmetrics_dead_letters_size_bytes{` + of + `} 90x%d`, `holdmetrics_dead_letters_limit_bytes{` + of + `} 100x%d`},
		quiet: []string{`holdmetrics_dead_letters_size_bytes{` + of + `} 50x%d`, `holdmetrics_dead_letters_limit_bytes{` + of + `} 100x%d`},
	},
	"HoldmetricsRefusals": {
		after: 25 * time.Minute, description: "one in twenty",
		fires: []string{`holdmetrics_gateway_events_refused_total{` + of + `,endpoint="record",reason="time"} 0+15x%d`, `hold_events_total{` + of + `} 0+150x%d`},
		quiet: []string{`holdmetrics_gateway_events_refused_total{` + of + `,endpoint="record",reason="time"} 0+15x%d`, `hold_events_total{` + of + `} 0+1500x%d`},
	},
	"HoldmetricsAuthRefusals": {
		after: 25 * time.Minute, description: "reason invalid",
		fires: []string{`holdmetrics_auth_refusals_total{` + of + `,reason="invalid"} 0+60x%d`},
		quiet: []string{`holdmetrics_auth_refusals_total{` + of + `,reason="invalid"} 0+3x%d`},
	},
	"HoldmetricsDiskFull": {
		after: 0, description: "free",
		fires: []string{`holdmetrics_disk_free_bytes{` + of + `} 10x%d`, `holdmetrics_disk_reserve_bytes{` + of + `} 100x%d`},
		quiet: []string{`holdmetrics_disk_free_bytes{` + of + `} 1000x%d`, `holdmetrics_disk_reserve_bytes{` + of + `} 100x%d`},
	},
	"HoldmetricsDiskFills": {
		after: 2 * time.Hour, description: "within a day",
		fires: []string{`holdmetrics_disk_free_bytes{` + of + `} 4000-4x%d`, `holdmetrics_disk_reserve_bytes{` + of + `} 100x%d`, `holdmetrics_disk_size_bytes{` + of + `} 10000x%d`},
		quiet: []string{`holdmetrics_disk_free_bytes{` + of + `} 4000x%d`, `holdmetrics_disk_reserve_bytes{` + of + `} 100x%d`, `holdmetrics_disk_size_bytes{` + of + `} 10000x%d`},
	},
	"HoldmetricsMemoryHigh": {
		after: 11 * time.Minute, description: "95 %",
		fires: []string{`process_resident_memory_bytes{` + of + `} 98x%d`, `holdmetrics_memory_limit_bytes{` + of + `} 100x%d`},
		// Nothing limits the second one.
		quiet: []string{`process_resident_memory_bytes{` + of + `} 60x%d`, `holdmetrics_memory_limit_bytes{` + of + `} 100x%d`,
			`process_resident_memory_bytes{job="holdmetrics",instance="b"} 60x%d`, `holdmetrics_memory_limit_bytes{job="holdmetrics",instance="b"} 0x%d`},
	},
	"HoldmetricsOwnersFlap": {
		after: 10 * time.Minute, description: "leases in 15 minutes",
		fires: []string{`holdmetrics_lease_changes_total{` + of + `,generation="1",change="lost"} 0+1x%d`},
		quiet: []string{`holdmetrics_lease_changes_total{` + of + `,generation="1",change="lost"} 0 2x%d`, `holdmetrics_lease_changes_total{` + of + `,generation="1",change="acquired"} 0+1x%d`},
	},
	"HoldmetricsCertificateExpires": {
		after: 0, description: "no restart",
		fires: []string{`holdmetrics_certificate_expiry_timestamp_seconds{` + of + `,certificate="servers"} 864000x%d`},
		quiet: []string{`holdmetrics_certificate_expiry_timestamp_seconds{` + of + `,certificate="servers"} 8640000x%d`},
	},
	"HoldmetricsCertificateExpired": {
		after: 0, description: "run out",
		fires: []string{`holdmetrics_certificate_expiry_timestamp_seconds{` + of + `,certificate="servers"} 3600x%d`},
		quiet: []string{`holdmetrics_certificate_expiry_timestamp_seconds{` + of + `,certificate="servers"} 864000x%d`, `holdmetrics_certificate_reload_failed{` + of + `,certificate="servers"} 0x%d`},
	},
	"HoldmetricsBackupOld": {
		after: 28 * time.Hour, description: "backup",
		fires: []string{`holdmetrics_backup_last_timestamp_seconds{` + of + `} 0x%d`},
		// Of two processes one has not looked yet.
		quiet: []string{`holdmetrics_backup_last_timestamp_seconds{` + of + `} 90000x%d`, `holdmetrics_backup_last_timestamp_seconds{job="holdmetrics",instance="b"} 0x%d`},
	},
	"HoldmetricsWatchersStall": {
		after: 5 * time.Minute, description: "by grpc",
		fires: []string{`holdmetrics_gateway_watchers_stalled_total{` + of + `,api="grpc"} 0+1x%d`},
		quiet: []string{`holdmetrics_gateway_watchers_stalled_total{` + of + `,api="grpc"} 0 3x%d`},
	},
	"HoldmetricsSnapshotsReplaced": {
		after: time.Minute, description: "snapshots",
		fires: []string{`holdmetrics_snapshots_replaced_total{` + of + `,generation="1",partition="2"} 0 0 4x%d`},
		quiet: []string{`holdmetrics_snapshots_replaced_total{` + of + `,generation="1",partition="2"} 4x%d`},
	},
}

// evaluate evaluates all rules over made series from 0 to a time, at every step, and calls
// each with the alerts that fire.
func evaluate(t *testing.T, series []string, until, interval time.Duration, each func(at time.Duration, firing map[string][]*rules.Alert)) {
	t.Helper()
	var load strings.Builder
	fmt.Fprintf(&load, "load %s\n", interval)
	for _, s := range series {
		if strings.Contains(s, "%d") {
			s = fmt.Sprintf(s, until/interval+1)
		}
		fmt.Fprintf(&load, "  %s\n", s)
	}
	grammar := parser.NewParser(parser.Options{})
	suite, err := promqltest.NewLazyLoader(load.String(), promqltest.LazyLoaderOpts{Parser: grammar})
	if err != nil {
		t.Fatalf("%v\n%s", err, &load)
	}
	defer suite.Close()
	m := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()), AppendableV2: suite.Storage(), Queryable: suite.Storage(),
		Context: t.Context(), NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: promslog.NewNopLogger(), Parser: grammar,
	})
	loaded := loadGroups(t, m)
	for at := time.Duration(0); at <= until; at += interval {
		ts := time.Unix(0, 0).UTC().Add(at)
		firing := map[string][]*rules.Alert{}
		suite.WithSamplesTill(ts, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range loaded {
				g.Eval(suite.Context(), ts)
				for _, r := range g.Rules() {
					if r.LastError() != nil {
						t.Fatalf("%s at %s: %v", r.Name(), at, r.LastError())
					}
					if alert, ok := r.(*rules.AlertingRule); ok {
						alert.SetRestored(true)
						for _, a := range alert.ActiveAlerts() {
							if a.State == rules.StateFiring {
								firing[r.Name()] = append(firing[r.Name()], a)
							}
						}
					}
				}
			}
		})
		each(at, firing)
	}
}

// loadGroups loads the recording rules and then the alerts, which read them.
func loadGroups(t *testing.T, m *rules.Manager) (all []*rules.Group) {
	t.Helper()
	for _, file := range []string{ruleFile, alertFile} {
		groups, errs := m.LoadGroups(step, labels.EmptyLabels(), "", nil, false, file)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		for _, g := range groups {
			all = append(all, g)
		}
	}
	return all
}

// Every alert fires when it should, with its annotations filled in, and not when it should
// not.
func TestAlerts(t *testing.T) {
	t.Parallel()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			interval := step
			if c.after > time.Hour {
				interval = 5 * time.Minute // what takes a day need not be looked at each 15 seconds
			}
			if c.after == 2*time.Hour {
				interval = time.Minute
			}
			first := time.Duration(-1)
			evaluate(t, c.fires, c.after+2*interval, interval, func(at time.Duration, firing map[string][]*rules.Alert) {
				if len(firing[name]) == 0 || first >= 0 {
					return
				}
				first = at
				a := firing[name][0]
				text := a.Annotations.Get("summary") + " " + a.Annotations.Get("description")
				if !strings.Contains(text, c.description) || strings.Contains(text, "<no value>") || strings.Contains(text, "error") && strings.Contains(text, "template") {
					t.Errorf("%q, want %q in it", text, c.description)
				}
			})
			if first < 0 {
				t.Errorf("it does not fire within %s", c.after)
			}
			evaluate(t, c.quiet, c.after+2*interval, interval, func(at time.Duration, firing map[string][]*rules.Alert) {
				if len(firing[name]) > 0 {
					t.Fatalf("it fires at %s: %v", at, firing[name][0])
				}
			})
		})
	}
}

var heading = regexp.MustCompile(`(?m)^## (.+)$`)

// Every alert has a case, a summary, a description, a severity, and a section of the
// runbooks, and there is no section without an alert.
func TestAlertsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(runbooks)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	found := heading.FindAllStringSubmatchIndex(string(page), -1)
	for i, at := range found {
		end := len(page)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		sections[string(page[at[2]:at[3]])] = string(page[at[1]:end])
	}
	grammar := parser.NewParser(parser.Options{})
	m := rules.NewManager(&rules.ManagerOptions{Context: t.Context(), Logger: promslog.NewNopLogger(), Parser: grammar})
	alerts := map[string]bool{}
	for _, g := range loadGroups(t, m) {
		for _, r := range g.Rules() {
			alert, ok := r.(*rules.AlertingRule)
			if !ok {
				continue
			}
			name := alert.Name()
			alerts[name] = true
			if _, tested := cases[name]; !tested {
				t.Errorf("%s has no test", name)
			}
			if s := alert.Labels().Get("severity"); s != "page" && s != "ticket" {
				t.Errorf("%s: severity %q", name, s)
			}
			for _, a := range []string{"summary", "description"} {
				if alert.Annotations().Get(a) == "" {
					t.Errorf("%s has no %s", name, a)
				}
			}
			if url := alert.Annotations().Get("runbook_url"); url != "docs/runbooks.md#"+strings.ToLower(name) {
				t.Errorf("%s: runbook_url %q", name, url)
			}
			for _, part := range []string{"**Symptom.**", "**Meaning.**", "**Look at.**", "**Do.**"} {
				if !strings.Contains(sections[name], part) {
					t.Errorf("docs/runbooks.md has no %s of %s", part, name)
				}
			}
		}
	}
	for name := range cases {
		if !alerts[name] {
			t.Errorf("a test of %s, which is no alert", name)
		}
	}
	for name := range sections {
		if strings.HasPrefix(name, "Holdmetrics") && !alerts[name] {
			t.Errorf("docs/runbooks.md has a section %s, which is no alert", name)
		}
	}
}
