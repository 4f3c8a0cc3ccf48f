package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"holdmetrics/processor"
	"holdmetrics/projection/mongo/mongotest"
	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// workersRow is what another `holdmetrics worker` adds: one, two and four of them,
// of one core each (GOMAXPROCS=1, since one alone would take all that the machine
// has), on one broker in a process of its own, with stores of their own, then on
// one database. First the log is filled; then the workers start. What counts is how
// long it takes from there until store and bucket have everything, with starting and
// with sharing out: an operator who adds a worker waits for that too. Against one worker.
//
// Broker and database run on the machine's cores too. So with two cores two
// workers cannot be twice as fast as one, and four no faster than two: at most
// what the broker leaves of the second core is added. To see what more workers add
// takes a machine with a core for each, and some for the broker. The database is
// the one that tests find, named in the note; the stand-in is one slow process,
// which limits all.
type workersRow struct{ once }

func (workersRow) name() string { return "workers" }
func (workersRow) about() string {
	return "workers: one, two and four worker processes of one core each, with own stores and on MongoDB"
}

const (
	workersEvents, workersHolders           = 3_000_000, 100_000
	workersMongoEvents, workersMongoHolders = 50_000, 10_000
)

// workersStore is where the workers of a run keep figures.
type workersStore struct {
	name            string
	events, holders int
	server          *mongotest.Server // nil: each has its own store
	note            string
}

func (workersRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	lines, err := b.workers(ctx, workersStore{name: "own stores", events: b.size(workersEvents), holders: b.size(workersHolders)})
	if err != nil {
		return nil, err
	}
	database := workersStore{name: "MongoDB", events: b.size(workersMongoEvents), holders: b.size(workersMongoHolders)}
	database.server, err = mongotest.New()
	if errors.Is(err, mongotest.ErrNone) {
		for _, n := range workerCounts {
			lines = append(lines, report.Line{Name: workersName(n, &database), Unit: "events/s", Skipped: err.Error()})
		}
		return lines, nil
	}
	if err != nil {
		return nil, err
	}
	database.note = "tested with " + database.server.Name
	more, err := b.workers(ctx, database)
	return append(lines, more...), errors.Join(err, database.server.Close())
}

var workerCounts = []int{1, 2, 4}

func workersName(n int, s *workersStore) string {
	if n == 1 {
		return "1 worker, " + s.name
	}
	return fmt.Sprintf("%d workers, %s", n, s.name)
}

// workers are the lines of one kind of store.
func (b *bench) workers(ctx context.Context, s workersStore) (lines []report.Line, err error) {
	for _, n := range workerCounts {
		rate, note, err := b.replayBy(ctx, n, &s)
		if err != nil {
			return nil, err
		}
		l := report.Line{Name: workersName(n, &s), Value: rate, Unit: "events/s", Fsync: s.server == nil, Note: s.note, Void: note != ""}
		if note != "" {
			l.Note = strings.TrimPrefix(l.Note+"; "+note, "; ")
		}
		if n > 1 {
			l.Against, l.AgainstValue = "1 worker", lines[0].Value
		}
		b.log("%s: %s events/s", l.Name, report.Number(rate))
		lines = append(lines, l)
	}
	return lines, nil
}

// replayBy has n workers apply a log. The note says what was not as it should have been.
func (b *bench) replayBy(ctx context.Context, n int, s *workersStore) (rate float64, note string, err error) {
	dir, err := b.tempDir("workers")
	if err != nil {
		return 0, "", err
	}
	defer b.clean()
	broker, at, err := b.startServerOn(ctx, dir, true, false)
	if err != nil {
		return 0, "", err
	}
	defer child.StopAll(&err, broker)
	args := []string{"--store", "embedded"}
	if s.server != nil {
		database := fmt.Sprintf("holdmetrics_bench_%d_%d", time.Now().UnixNano(), n)
		args = []string{"--mongodb-url", s.server.URL, "--mongodb-db", database}
		if !s.server.Ours() {
			defer func() { err = errors.Join(err, s.server.Drop(database)) }()
		}
	}
	if err := b.call(ctx, "fill", 0, load.FillInput{NATS: at.NATS, Holders: s.holders, Events: s.events}, &struct{}{}); err != nil {
		return 0, "", err
	}
	began := time.Now()
	crew, err := b.startCrew(ctx, n, at, args)
	defer func() {
		stopped := crew.stop()
		if note == "" { // else they were in the middle of it, and had no time to end in order
			err = errors.Join(err, stopped)
		}
	}()
	if err != nil {
		return 0, "", err
	}
	return crew.work(ctx, at, uint64(s.events), began)
}

// crew are the workers of one log.
type crew struct {
	workers []*program
	urls    []string // of their GET /status
}

func (b *bench) startCrew(ctx context.Context, n int, at load.Addresses, args []string) (*crew, error) {
	c := &crew{}
	for i := range n {
		dir, err := b.tempDir("worker")
		if err != nil {
			return c, err
		}
		all := append([]string{"worker", "--nats-url", at.NATS.URL, "--worker-id", fmt.Sprintf("w%d", i), "--metrics-address", "127.0.0.1:0", "--data-dir", dir}, args...)
		url := ""
		p, err := b.startProgram(ctx, all, []string{"GOMAXPROCS=1"}, func(_ *program, what, where string) {
			if what == "HTTP" {
				url = where + "/status"
			}
		})
		if err != nil {
			return c, err
		}
		c.workers, c.urls = append(c.workers, p), append(c.urls, url)
	}
	return c, nil
}

func (c *crew) stop() (err error) {
	for _, p := range c.workers {
		err = errors.Join(err, p.stop())
	}
	return err
}

// work waits until the workers have all of the log, and says how much they applied
// a second since they began. The note says what was not as it should have been.
func (c *crew) work(ctx context.Context, at load.Addresses, events uint64, began time.Time) (rate float64, note string, err error) {
	within, cancel := context.WithTimeout(ctx, replayPatience)
	defer cancel()
	ends, err := logEnds(within, at)
	if err != nil {
		return 0, "", err
	}
	s, err := c.look(within, ends)
	for err == nil && !s.done {
		if !load.Pause(within, 10*time.Millisecond) {
			note = fmt.Sprintf("not done after %v, of %d events %d were applied", replayPatience, events, s.applied)
			break
		}
		s, err = c.look(ctx, ends)
	}
	if err != nil {
		return 0, "", err
	}
	if note == "" && !s.even {
		note = "at the end the workers did not share the partitions evenly"
	}
	return float64(s.applied) / time.Since(began).Seconds(), note, ctx.Err()
}

// crewState is what the workers say.
type crewState struct {
	applied uint64
	even    bool // they own every partition, each as many, and have loaded it
	done    bool
}

func (c *crew) look(ctx context.Context, ends []uint64) (crewState, error) {
	s := crewState{even: true}
	done := 0
	for _, url := range c.urls {
		r, err := readReport(ctx, url)
		if err != nil {
			return s, err
		}
		s.even = s.even && len(r.Partitions) == len(ends)/len(c.urls)
		for _, p := range r.Partitions {
			s.applied += p.Events
			s.even = s.even && p.State != processor.Loading.String()
			if p.Checkpoint >= ends[p.Partition] && p.Published >= ends[p.Partition] {
				done++
			}
		}
	}
	s.done = done == len(ends)
	return s, nil
}

func readReport(ctx context.Context, url string) (r processor.Report, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return r, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	return r, json.NewDecoder(response.Body).Decode(&r)
}
