package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"holdmetrics/internal/testwait"
)

// TestProofsAgreeWithAnIndependentVerifier has a verifier in JavaScript, which shares no
// code with the server, check proofs of a real one.
func TestProofsAgreeWithAnIndependentVerifier(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no Node.js on this machine")
	}
	dir := t.TempDir()
	key, public := filepath.Join(dir, "key"), filepath.Join(dir, "public")
	keep := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keep("public", []byte(run(t, "audit", "keygen", "--out", key, "--name", "example.com/holds")))
	s := start(t, filepath.Join(dir, "data"), "--signing-key", key, "--checkpoint-interval", "1s")
	get := func(path string) []byte {
		answer, err := http.Get(s.http + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	check := func(args ...string) error {
		var out bytes.Buffer
		cmd := exec.CommandContext(t.Context(), node, append([]string{filepath.Join("proof", "verify.mjs"), public}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%w: %s", err, &out)
		}
		return nil
	}
	covered := func(positions int) string {
		t.Helper()
		testwait.Poll(t, "a checkpoint of all events", func() error {
			if note := string(get("/audit/checkpoint")); !strings.Contains(note, fmt.Sprintf("\n%d\n", positions)) {
				return fmt.Errorf("the checkpoint is %q", note)
			}
			return nil
		})
		return keep(fmt.Sprintf("note-%d", positions), get("/audit/checkpoint"))
	}
	record := func(n int) {
		for i := range n {
			run(t, "record", "--server", s.grpc, "--token", "GOLD", "--holder", fmt.Sprintf("holder-%d", i), "--start", "2023-05-01T00:00:00Z")
		}
	}
	var notes []string
	for size := 1; size <= 7; size += 2 {
		record(1 + min(1, size-1))
		notes = append(notes, covered(size))
	}
	const last = 7
	for position := 1; position <= last; position++ {
		body := get(fmt.Sprintf("/audit/proof?position=%d&message=true", position))
		file := keep("proof.json", body)
		holder := "holder-0" // as record names them: 0, then 0 and 1 again and again
		if position > 1 && position%2 == 1 {
			holder = "holder-1"
		}
		if err := check(file, holder); err != nil {
			t.Errorf("position %d: %v", position, err)
		}
		if position == 1 {
			for _, part := range []string{"holder-", "older-0", "GOLD", "holder-00", ""} {
				if check(file, part) == nil {
					t.Errorf("it is taken for an event of %q", part)
				}
			}
		}
		run(t, "audit", "check", file, "--public-key", public)

		var proof map[string]any
		if err := json.Unmarshal(body, &proof); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"leaf", "checkpoint", "message"} { // one character of each
			was := proof[field].(string)
			at := len(was) / 2
			other := byte('A')
			if was[at] == other {
				other = 'B'
			}
			proof[field] = was[:at] + string(other) + was[at+1:]
			text, err := json.Marshal(proof)
			if err != nil {
				t.Fatal(err)
			}
			file := keep("changed.json", text)
			if check(file) == nil {
				t.Errorf("position %d: a changed %s is proved", position, field)
			}
			if _, _, err := try(t, "audit", "check", file, "--public-key", public); err == nil {
				t.Errorf("position %d: 'audit check' takes a changed %s", position, field)
			}
			proof[field] = was
		}
	}
	// A message with several events, and one of JSON.
	frame := `{"token_id":"GOLD","holder_id":"zoë","start":5}` + "\n" + `{"token_id":"SILVER","holder_id":"zoë","start":6}`
	answer, err := http.Post(s.http+"/holds", "application/x-ndjson", strings.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	raw := nats.NewMsg("hold.events.GOLD")
	raw.Header.Set("Content-Type", "application/json")
	raw.Data = []byte(`{"token_id":"GOLD","holder_id":"zoë","start":"2023-05-01T00:00:00Z"}`)
	conn, _ := s.natsConn()
	if _, err := conn.RequestMsg(raw, patience); err != nil {
		t.Fatal(err)
	}
	covered(last + 2)
	for position := last + 1; position <= last+2; position++ {
		file := keep("proof.json", get(fmt.Sprintf("/audit/proof?position=%d&message=true", position)))
		if err := check(file, "zoë"); err != nil {
			t.Errorf("position %d: %v", position, err)
		}
		if check(file, "zo") == nil {
			t.Errorf("position %d: it is taken for an event of zo", position)
		}
	}
	for i, note := range notes {
		file := keep("consistency.json", get(fmt.Sprintf("/audit/consistency?from=%d", 2*i+1)))
		if err := check(file, note); err != nil {
			t.Errorf("from %d: %v", 2*i+1, err)
		}
		if other := notes[(i+1)%len(notes)]; check(file, other) == nil {
			t.Errorf("from %d: the checkpoint of another size is taken", 2*i+1)
		}
	}
}

func TestThePageShowsWhatIsProved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	run(t, "audit", "keygen", "--out", key)
	s := start(t, filepath.Join(dir, "data"), "--signing-key", key, "--checkpoint-interval", "1s")
	for i := range 3 {
		run(t, "record", "--server", s.grpc, "--token", "GOLD", "--holder", "alice", "--start", fmt.Sprintf("2023-05-0%dT00:00:00Z", i+1))
	}
	p := openTab(t, s.http)
	p.open("#/holder/alice")
	p.await(t, "the proof of the last event", `document.querySelector('#proved dd')?.textContent.startsWith('position 3 in the checkpoint of 3')`)
	p.await(t, "how to check it", `document.querySelector('#proved details')?.textContent.includes('Your browser has followed its proof')`)
	p.nothingWrong(t)
}
