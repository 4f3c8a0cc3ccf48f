package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// smallDisk is a disk of its own of some mebibytes. The test is skipped where nothing
// may be mounted.
func smallDisk(t *testing.T, mebibytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mebibytes)); err != nil {
		t.Skipf("no disk of a limited size can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill takes all room of a disk, and gives what frees it again.
func fill(t *testing.T, disk string) (free func()) {
	t.Helper()
	path := filepath.Join(disk, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := file.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 16
		} else if err != nil {
			t.Fatal(err)
		}
	}
	_ = file.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// post sends one event by HTTP, and returns an error that has the status and the text
// where it was not accepted.
func (s *server) post(holder string) error {
	body := fmt.Sprintf(`{"token_id":"LEAD","holder_id":%q,"start":"1970-01-01T00:01:40Z","end":"1970-01-01T00:01:41Z"}`, holder)
	response, err := http.Post(s.http+"/hold", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("%d: %s", response.StatusCode, bytes.TrimSpace(text))
	}
	return nil
}

// The disk is full for a while: events are refused with the reason, reads go on, and
// with room again everything goes on by itself, also if the broker could not write
// meanwhile. A start on a full disk says so and ends.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const holders = 400
	disk := smallDisk(t, 192)
	dir := filepath.Join(disk, "data")
	s := start(t, dir)
	s.recordHolders(0, holders/2)
	s.awaitReady()

	free := fill(t, disk)
	// A producer of its own that does not ask whether the disk has room: what the broker
	// cannot write it refuses from then on.
	conn, _ := s.natsConn()
	refused := false
	for range 200 {
		event := nats.NewMsg("hold.events.raw")
		event.Header.Set("Content-Type", "application/json")
		event.Data = []byte(`{"token_id":"LEAD","holder_id":"raw","start":"1970-01-01T00:01:40Z","end":"1970-01-01T00:01:41Z"}`)
		answer, err := conn.RequestMsg(event, 2*time.Second)
		if refused = err != nil || bytes.Contains(answer.Data, []byte(`"error"`)); refused {
			t.Logf("the broker refused an event: %v", answer)
			break
		}
	}
	s.eventually("an event is refused", func() error {
		if err := s.post("late"); err == nil || !strings.Contains(err.Error(), "is full") || !strings.HasPrefix(err.Error(), "503") {
			return fmt.Errorf("the answer is %v", err)
		}
		return nil
	})
	if err := s.try("/readyz", nil); err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("readyz on a full disk: %v", err)
	}
	if wrong, refused := s.figures(holders / 2); wrong != nil || refused != nil {
		t.Error("reads on a full disk:", wrong, refused)
	}
	free()
	s.awaitReady()
	s.eventually("an event is taken", func() error { return s.post("late") })
	s.recordHolders(holders/2, holders)
	s.awaitReady()
	if wrong, refused := s.figures(holders); wrong != nil || refused != nil {
		t.Error("with room again:", wrong, refused)
	}
	s.stop()

	free = fill(t, disk)
	_, said, err := try(t, "serve", "--data-dir", dir, "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0")
	if err == nil || !strings.Contains(said, "is full") || !strings.Contains(said, "free some space") {
		t.Errorf("a start on a full disk: %v: %s", err, said)
	}
	free()
	s = start(t, dir)
	s.awaitReady()
	if wrong, refused := s.figures(holders); wrong != nil || refused != nil {
		t.Error("after a start:", wrong, refused)
	}
	s.stop()
}
