// Command dev is a tour for those who develop holdmetrics: it runs a server with a made
// set of events, sends more of them, opens the page, and says what to try. Its data is in
// a directory that goes when it ends.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t := tour{out: os.Stdout}
	flag.StringVar(&t.binary, "binary", "bin/holdmetrics", "the holdmetrics to run")
	flag.IntVar(&t.holders, "holders", 40, "how many holders there are")
	flag.Uint64Var(&t.seed, "seed", 1, "decides the events")
	noPage := flag.Bool("no-page", false, "do not open the page")
	flag.Parse()
	t.args, t.page = flag.Args(), !*noPage
	if err := t.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
}

// tour is a server with made events.
type tour struct {
	binary  string
	args    []string // of serve
	holders int
	seed    uint64
	page    bool
	out     io.Writer
}

const rules = `# In this generation GOLD counts twice, and short holds do not count.
policy: merge
tokens:
  - token: GOLD
    multiplier: 2
    shortest_run: 1h
`

func (t *tour) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "holdmetrics-dev-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rulesFile := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(rulesFile, []byte(rules), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(t.binary, append([]string{"serve", "--data-dir", filepath.Join(dir, "data")}, t.args...)...)
	said, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: run 'make build' first", err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have got the terminal's Ctrl-C already
		_ = cmd.Wait()
	}()
	address, err := t.await(said)
	if err != nil {
		return err
	}
	draw := rand.New(rand.NewPCG(t.seed, 0))
	count, err := t.seedEvents(ctx, address, draw)
	if err != nil {
		return err
	}
	t.tell(address, count, rulesFile)
	if t.page {
		open(address)
	}
	err = t.goOn(ctx, address, draw)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// await returns the address of the HTTP server when the server is up.
func (t *tour) await(said io.Reader) (address string, err error) {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 2 && fields[0] == "HTTP" {
			address = fields[1]
		}
		if strings.Contains(lines.Text(), "Ctrl-C stops it") {
			go func() { _, _ = io.Copy(io.Discard, said) }() // ends with the server
			return address, nil
		}
	}
	return "", errors.New("the server has not started: its reason is above")
}

var (
	tokens = []string{"GOLD", "SILVER", "COPPER"}
	names  = []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj", "olivia", "peggy", "rupert", "sybil", "trent", "victor", "walter"}
)

func (t *tour) holder(draw *rand.Rand) string {
	i := draw.IntN(t.holders)
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("0x%040x", uint64(i)*0x9e3779b97f4a7c15)
}

// seedEvents sends the events of a month, and returns how many they are.
func (t *tour) seedEvents(ctx context.Context, address string, draw *rand.Rand) (int, error) {
	var body bytes.Buffer
	now, count := time.Now().UTC().Truncate(time.Second), 50*t.holders
	for range count {
		start := now.Add(-time.Duration(draw.Int64N(int64(30 * 24 * time.Hour)))).Truncate(time.Second)
		end := start.Add(time.Duration(draw.Int64N(int64(48 * time.Hour)))).Truncate(time.Second)
		until := fmt.Sprintf(`,"end":%q`, end.Format(time.RFC3339))
		if end.After(now) {
			until = "" // it is held still
		}
		fmt.Fprintf(&body, `{"token_id":%q,"holder_id":%q,"start":%q%s,"weight":%d}`+"\n",
			tokens[draw.IntN(len(tokens))], t.holder(draw), start.Format(time.RFC3339), until, 1+draw.IntN(100))
	}
	return count, send(ctx, address, &body)
}

// goOn sends an event every second until ctx ends.
func (t *tour) goOn(ctx context.Context, address string, draw *rand.Rand) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-every.C:
			event := fmt.Sprintf(`{"token_id":%q,"holder_id":%q,"start":%q,"weight":%d}`+"\n",
				tokens[draw.IntN(len(tokens))], t.holder(draw), now.UTC().Format(time.RFC3339), 1+draw.IntN(100))
			if err := send(ctx, address, strings.NewReader(event)); err != nil {
				return err
			}
		}
	}
}

func send(ctx context.Context, address string, body io.Reader) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/holds", body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers with %s: %s", answer.Status, text)
	}
	return nil
}

func (t *tour) tell(address string, count int, rulesFile string) {
	fmt.Fprintf(t.out, `
A server with %[1]d events of %[2]d holders, and a new event every second:

  %[3]s            ranking, holders, charts, partitions
  %[3]s/docs       the HTTP interface
  %[3]s/metrics    what Prometheus reads

Try, in another terminal:

  %[4]s top
  %[4]s explain alice --token GOLD
  %[4]s stats alice --by-token --watch
  %[4]s record --token GOLD --holder you --start %[5]s
  %[4]s stats you --by-token
  %[4]s status
  %[4]s log --holder you
  %[4]s rebuild --rules %[6]s --name doubled --activate
  %[4]s verify 1 doubled
  %[4]s rollback

Ctrl-C ends it, and removes its data.
`, count, t.holders, address, t.binary, time.Now().UTC().Format(time.RFC3339), rulesFile)
}

// open opens the page in the browser of the desk, if there is one.
func open(address string) {
	program := map[string]string{"darwin": "open", "windows": "explorer"}[runtime.GOOS]
	if program == "" && (os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "") {
		program = "xdg-open"
	}
	if program != "" {
		_ = exec.Command(program, address).Start() // the address is printed too
	}
}
