package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/testwait"
)

// A bad day damages what a server has on its disk, or what it runs on. At its end the
// figures are those of the acknowledged events, or the server says that they are not.

// recordHolders sends one ended hold for each holder, and returns when all are stored.
// The n-th holder's score is n+1.
func (s *server) recordHolders(from, to int) {
	s.t.Helper()
	s.recordInBatches(from, to, to-from)
}

// recordInBatches does so with so many holders a batch.
func (s *server) recordInBatches(from, to, size int) {
	s.t.Helper()
	_, js := s.natsConn()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	p := ingest.NewProducer(log, ingest.ProducerOptions{})
	defer func() {
		if err := p.Close(ctx); err != nil {
			s.t.Error(err)
		}
	}()
	var drafts []hold.Draft
	for i := from; i < to; i++ {
		drafts = append(drafts, hold.Draft{Token: "GOLD", Holder: holderName(i), Start: hold.StampOf(100e9), End: hold.StampOf(int64(101+i) * 1e9)})
	}
	var last uint64
	for batch := range slices.Chunk(drafts, size) {
		result, err := p.RecordBatch(ctx, batch)
		if err != nil || result.Accepted != len(batch) {
			s.t.Fatal(result, err)
		}
		last = result.Position
	}
	for _, read := range []string{"/stats", "/scores"} {
		s.eventually("the events are applied", func() error {
			return s.try(fmt.Sprintf("%s?after=%d", read, last), nil)
		})
	}
}

func holderName(i int) string { return fmt.Sprintf("holder-%05d", i) }

// try reads a page of the HTTP server into answer, and returns an error that has the
// status and the text where it is not 200.
func (s *server) try(path string, answer any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %d: %s", path, response.StatusCode, bytes.TrimSpace(body))
	}
	if answer == nil || len(body) == 0 {
		return nil
	}
	return json.Unmarshal(body, answer)
}

// awaitReady returns when the server is ready.
func (s *server) awaitReady() {
	s.t.Helper()
	s.eventually("the server is ready", func() error { return s.try("/readyz", nil) })
}

// eventually tries until it succeeds: another process tells of nothing.
func (s *server) eventually(what string, try func() error) {
	s.t.Helper()
	testwait.Poll(s.t, what, try)
}

// figures are the answers of a server to all reads of its holders, and what is wrong
// with them: holders that are missing or have another score than recordHolders gave
// them. An answer that is an error is no wrong figure.
func (s *server) figures(holders int) (wrong error, refused error) {
	type row struct {
		Holder string `json:"holder_id"`
		Score  string `json:"score"`       // of /scores
		Exact  string `json:"score_exact"` // of /stats
	}
	check := func(path string, rows []row) {
		have := map[string]string{}
		for _, r := range rows {
			have[r.Holder] = r.Score + r.Exact
		}
		for i := range holders {
			if want := fmt.Sprint(i + 1); have[holderName(i)] != want && wrong == nil {
				wrong = fmt.Errorf("%s: %s has %q, want %q (%d of %d holders)", path, holderName(i), have[holderName(i)], want, len(rows), holders)
			}
		}
	}
	for _, path := range []string{"/stats", "/scores"} {
		var rows []row
		err := s.try(path, &rows)
		for range 5 { // a busy machine is no refusal
			if err == nil || !strings.Contains(err.Error(), ": 504: ") {
				break
			}
			rows, err = nil, s.try(path, &rows)
		}
		if err != nil {
			refused = errors.Join(refused, err)
			continue
		}
		check(path, rows)
	}
	return wrong, refused
}

// flip changes bytes in the middle of a file.
func flip(t *testing.T, path string, bytes int) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range bytes {
		content[len(content)/2+i] ^= 0x5a
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A table of the store was damaged while the server was down. The server runs, names
// the file and what to do, gives no wrong figure, and a rebuild heals it.
func TestDamagedTable(t *testing.T) {
	t.Parallel()
	const holders = 3000
	dir := t.TempDir()
	s := start(t, dir)
	s.recordHolders(0, holders)
	s.stop()
	start(t, dir).stop() // which makes tables of the log of writes
	tables, err := filepath.Glob(filepath.Join(dir, "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	largest := tables[0]
	for _, name := range tables {
		if size(t, name) > size(t, largest) {
			largest = name
		}
	}
	flip(t, largest, 5)

	s = start(t, dir)
	var refused error
	s.eventually("a read meets the damage", func() error {
		var wrong error
		if wrong, refused = s.figures(holders); wrong != nil {
			t.Fatal(wrong)
		}
		if refused == nil {
			return errors.New("no read was refused")
		}
		return nil
	})
	t.Log(refused)
	err = s.try("/readyz", nil)
	if err == nil || !strings.Contains(err.Error(), filepath.Base(largest)) || !strings.Contains(err.Error(), "holdmetrics rebuild --activate") {
		t.Errorf("readyz names neither the file nor what to do: %v", err)
	}
	run(t, "rebuild", "--activate", "--nats-url", "nats://"+strings.TrimPrefix(s.nats, "nats://"))
	s.awaitReady()
	if wrong, refused := s.figures(holders); wrong != nil || refused != nil {
		t.Error(wrong, refused)
	}
	s.stop()
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// The snapshot bucket is damaged in every way that a disk and a client have: the server
// finds out at its start, and while it runs, and publishes again from the store.
func TestDamagedBucket(t *testing.T) {
	t.Parallel()
	const holders = 2000
	began := time.Now()
	dir := t.TempDir()
	s := start(t, dir)
	s.recordHolders(0, holders)
	right := func(when string) {
		t.Helper()
		s.awaitReady()
		if wrong, refused := s.figures(holders); wrong != nil || refused != nil {
			t.Fatal(when, wrong, refused)
		}
		t.Logf("right %s, after %v", when, time.Since(began).Round(time.Millisecond))
	}
	right("at first")
	s.stop()

	blocks, err := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "$G", "streams", "KV_HOLD_STATS_1", "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatal(blocks, err)
	}
	for _, name := range blocks {
		flip(t, name, 40)
	}
	s = start(t, dir)
	right("with a flipped block")

	// The bucket is emptied, and its positions are written again by what comes next.
	_, js := s.natsConn()
	bucket, err := js.Stream(t.Context(), "KV_HOLD_STATS_1")
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.recordHolders(0, 100)
	s.stop()
	s = start(t, dir)
	right("with an empty bucket")

	// Nobody else can write to it, the operator neither.
	_, js = s.natsConn()
	other, err := js.KeyValue(t.Context(), "HOLD_STATS_1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := other.Put(ctx, holderName(5), []byte("\x0a\xff no snapshot")); err == nil {
		t.Error("an operator wrote a snapshot")
	}
	right("after an attempt to write to the bucket")
	s.stop()
}
