package test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// logBlocks are the block files of the event log of a data directory, the last one last.
func logBlocks(t *testing.T, dir string) []string {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "$G", "streams", "HOLD_EVENTS", "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatal(blocks, err)
	}
	slices.SortFunc(blocks, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return blocks
}

// cutLog takes half of the last block of the log, and the index, as a disk does that
// loses what it has acknowledged.
func cutLog(t *testing.T, dir string) {
	t.Helper()
	blocks := logBlocks(t, dir)
	last := blocks[len(blocks)-1]
	if err := os.Truncate(last, size(t, last)/2); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(last), "index.db")); err != nil {
		t.Fatal(err)
	}
}

// refusal is nil if an event is refused with a text.
func (s *server) refusal(want string) error {
	if err := s.post("late"); err == nil || !strings.HasPrefix(err.Error(), "503") || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("an event is answered with %v, want 503 and %q", err, want)
	}
	return nil
}

// notReady wants readyz to give a reason.
func (s *server) notReady(want string) {
	s.t.Helper()
	s.eventually("readyz gives the reason", func() error {
		if err := s.try("/readyz", nil); err == nil || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("%v, want %q", err, want)
		}
		return nil
	})
}

// recordOneByOne sends events in messages of their own.
func (s *server) recordOneByOne(from, to int) {
	s.t.Helper()
	s.recordInBatches(from, to, 1)
}

// startWithoutTail starts a server whose log has lost its end, after it had taken events
// of so many holders.
func startWithoutTail(t *testing.T, dir string, holders int) *server {
	t.Helper()
	s := start(t, dir)
	s.recordOneByOne(0, holders)
	s.stop()
	cutLog(t, dir)
	return start(t, dir)
}

// The log lost its end while the server was down, and events come at once. None of them
// takes the position of a lost one: events are refused, with what to do, and reads give
// what was acknowledged.
func TestLostTail(t *testing.T) {
	t.Parallel()
	const holders = 60
	dir := t.TempDir()
	s := startWithoutTail(t, dir, holders)
	for range 20 {
		if err := s.refusal("holdmetrics log repair"); err != nil {
			t.Fatal(err)
		}
	}
	s.notReady("log is shorter than the checkpoint")
	if wrong, refused := s.figures(holders); wrong != nil {
		t.Error(wrong, refused)
	}
	s.stop()

	// Nobody has a backup. The operator accepts the loss; the store has counted what the
	// log has lost, and no event takes its positions.
	said, _, err := try(t, "log", "repair", "--data-dir", dir)
	if err == nil || !strings.Contains(said, "lost   ") {
		t.Errorf("log repair: %v: %s", err, said)
	}
	t.Log(said)
	t.Log(run(t, "log", "repair", "--data-dir", dir, "--accept-loss"))
	s = start(t, dir)
	s.awaitReady()
	if wrong, refused := s.figures(holders); wrong != nil || refused != nil {
		t.Error("after the repair:", wrong, refused)
	}
	if response, err := http.Get(s.http + "/stats"); err != nil || response.Header.Get("Holdmetrics-Lost") != "30" {
		t.Errorf("an answer does not say that messages are lost: %v %v", response.Header, err)
	} else {
		_ = response.Body.Close()
	}
	if said := run(t, "status", "--server", s.grpc); !strings.Contains(said, "30 messages of the log are lost") {
		t.Errorf("status: %s", said)
	}
	s.recordHolders(holders, holders+40)
	s.awaitReady()
	if wrong, refused := s.figures(holders + 40); wrong != nil || refused != nil {
		t.Error("with new events:", wrong, refused)
	}
	s.stop()
	s = start(t, dir)
	s.awaitReady()
	if wrong, refused := s.figures(holders + 40); wrong != nil || refused != nil {
		t.Error("after another start:", wrong, refused)
	}
	s.stop()
	if said := run(t, "log", "repair", "--data-dir", dir); !strings.Contains(said, "accepted as lost") || !strings.Contains(said, "nothing") {
		t.Errorf("log repair afterwards: %s", said)
	}
}

// A message of the log was flipped on the disk. A store that is made from it again does
// not pass over it: the partition stops there, and names the position.
func TestFlippedLog(t *testing.T) {
	t.Parallel()
	const holders = 200
	dir := t.TempDir()
	s := start(t, dir)
	s.recordOneByOne(0, holders)
	saved := filepath.Join(t.TempDir(), "saved.backup")
	run(t, "backup", saved, "--nats-url", s.nats)
	run(t, "backup", "verify", saved)
	s.stop()
	flip(t, logBlocks(t, dir)[0], 5)
	if err := os.RemoveAll(filepath.Join(dir, "store")); err != nil {
		t.Fatal(err)
	}

	s = start(t, dir)
	s.notReady("the log is damaged")
	s.eventually("events are refused", func() error { return s.refusal("holdmetrics log repair") })
	for _, command := range [][]string{{"backup"}, {"log", "export"}} {
		file := filepath.Join(t.TempDir(), "copy.ndjson")
		_, said, err := try(t, append(command, file, "--nats-url", s.nats)...)
		if _, made := os.Stat(file); err == nil || made == nil || !strings.Contains(said, "the log is damaged") {
			t.Errorf("%v of a damaged log: %v: %s", command, err, said)
		}
	}
	if _, said, err := try(t, "log", "verify", "--nats-url", s.nats); err == nil || !strings.Contains(said, "are missing") {
		t.Errorf("log verify of a damaged log: %v: %s", err, said)
	}
	s.stop()

	t.Log(run(t, "log", "repair", "--data-dir", dir, "--from", saved))
	s = start(t, dir)
	s.awaitReady()
	if wrong, refused := s.figures(holders); wrong != nil || refused != nil {
		t.Error("after the repair:", wrong, refused)
	}
	s.recordHolders(holders, holders+1)
	run(t, "rebuild", "--verify", "--activate", "--nats-url", s.nats)
	s.awaitReady()
	if wrong, refused := s.figures(holders + 1); wrong != nil || refused != nil {
		t.Error("after a rebuild:", wrong, refused)
	}
	run(t, "backup", saved+"-2", "--nats-url", s.nats)
	run(t, "log", "verify", "--nats-url", s.nats)
	s.stop()
}

// recordLarge sends events in messages that are so large that the log needs several
// blocks. The n-th holder's score is n+1.
func (s *server) recordLarge(holders int) {
	s.t.Helper()
	conn, _ := s.natsConn()
	random := rand.NewChaCha8([32]byte{1})
	pad := make([]byte, 45_000) // less than a header may have, in base64
	for i := range holders {
		_, _ = random.Read(pad)
		event := nats.NewMsg("hold.events." + holderName(i))
		event.Header.Set("Content-Type", "application/json")
		event.Header.Set("Pad", base64.StdEncoding.EncodeToString(pad))
		event.Data = fmt.Appendf(nil, `{"token_id":"GOLD","holder_id":%q,"start":"1970-01-01T00:01:40Z","end":%q}`,
			holderName(i), time.Unix(int64(101+i), 0).UTC().Format(time.RFC3339))
		if answer, err := conn.RequestMsg(event, patience); err != nil || strings.Contains(string(answer.Data), `"error"`) {
			s.t.Fatal(answer, err)
		}
	}
	s.eventually("the events are applied", func() error { wrong, refused := s.figures(holders); return errors.Join(wrong, refused) })
}

// A compressed block of the log cannot be read, and the server was killed, so that the
// broker reads all blocks when it starts, does not open the log at all, and deletes it.
// Its files are kept, and no other log is made in its place; the repair takes the block
// out, and sends what it had again.
func TestUnreadableBlock(t *testing.T) {
	t.Parallel()
	const holders = 320
	dir := t.TempDir()
	s := start(t, dir)
	s.recordLarge(holders)
	saved := filepath.Join(t.TempDir(), "saved.backup")
	run(t, "backup", saved, "--nats-url", s.nats)
	s.kill()
	blocks := logBlocks(t, dir)
	if len(blocks) < 3 {
		t.Fatal("too few blocks: ", blocks)
	}
	flip(t, blocks[1], 5)

	serve := []string{"serve", "--data-dir", dir, "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0"}
	if _, said, err := try(t, serve...); err == nil || !strings.Contains(said, "log repair") {
		t.Fatalf("a start without the log: %v: %s", err, said)
	}
	if _, said, err := try(t, "log", "repair", "--data-dir", dir); err == nil || !strings.Contains(said, filepath.Base(blocks[1])) {
		t.Errorf("log repair: %v: %s", err, said)
	}
	t.Log(run(t, "log", "repair", "--data-dir", dir, "--from", saved))
	s = start(t, dir)
	s.awaitReady()
	if wrong, refused := s.figures(holders); wrong != nil || refused != nil {
		t.Error("after the repair:", wrong, refused)
	}
	run(t, "rebuild", "--verify", "--activate", "--nats-url", s.nats)
	s.awaitReady()
	if wrong, refused := s.figures(holders); wrong != nil || refused != nil {
		t.Error("after a rebuild:", wrong, refused)
	}
	s.stop()
}

// Raw producers are not refused. What they send at positions that were applied before is
// noticed, also after another start, and counts after the repair.
func TestTakenPositions(t *testing.T) {
	t.Parallel()
	const holders, more = 60, 50
	dir := t.TempDir()
	s := startWithoutTail(t, dir, holders)
	conn, _ := s.natsConn()
	for i := holders; i < holders+more; i++ {
		event := nats.NewMsg("hold.events." + holderName(i))
		event.Header.Set("Content-Type", "application/json")
		event.Data = fmt.Appendf(nil, `{"token_id":"GOLD","holder_id":%q,"start":"1970-01-01T00:01:40Z","end":%q}`,
			holderName(i), time.Unix(int64(101+i), 0).UTC().Format(time.RFC3339))
		if answer, err := conn.RequestMsg(event, patience); err != nil || strings.Contains(string(answer.Data), `"error"`) {
			t.Fatal(answer, err)
		}
	}
	s.stop()
	s = start(t, dir)
	if err := s.refusal("another message than the one that was applied"); err != nil {
		t.Error(err)
	}
	s.notReady("the log is damaged")
	s.stop()
	said := run(t, "log", "repair", "--data-dir", dir, "--accept-loss")
	if !strings.Contains(said, "taken by later messages") {
		t.Error(said)
	}
	t.Log(said)
	s = start(t, dir)
	s.awaitReady()
	if wrong, refused := s.figures(holders + more); wrong != nil || refused != nil {
		t.Error("after the repair:", wrong, refused)
	}
	s.stop()
}

// Where the settings of the log cannot be read, the server and the repair name the file and
// what to do. With the file of a copy the log is whole again.
func TestDamagedSettingsOfLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	s.recordHolders(0, 5)
	s.stop()
	meta := filepath.Join(dir, "nats", "jetstream", "$G", "streams", "HOLD_EVENTS", "meta.inf")
	whole, err := os.ReadFile(meta)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, content := range map[string][]byte{"flipped": flipped, "cut": whole[:len(whole)/2], "empty": {}, "gone": nil} {
		if err := os.WriteFile(meta, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if content == nil {
			if err := os.Remove(meta); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{
			{"serve", "--data-dir", dir, "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0"},
			{"log", "repair", "--data-dir", dir},
		} {
			_, text, err := try(t, args...)
			if err == nil || !strings.Contains(text, "its settings in "+meta+" cannot be read") || !strings.Contains(text, "restore a backup") {
				t.Errorf("%s: %s: %v: %s", name, args[0], err, text)
			}
		}
	}
	if err := os.WriteFile(meta, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	s.awaitReady()
	if wrong, refused := s.figures(5); wrong != nil || refused != nil {
		t.Error(wrong, refused)
	}
}
