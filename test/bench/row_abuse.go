package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// abuseRow is a quiet client beside another one that asks `holdmetrics serve` for too
// much: the p99 of its reads (one holder, exact) and of its writes (one event, durable),
// against the same while nobody else asks. The two have different addresses, since a
// client is an address. The notes have the peak of the server's memory, which begins
// again with each line, and what the other client got. Load and server share the
// machine, so a part of what a line shows is the other client's own work.
type abuseRow struct{ once }

func (abuseRow) name() string { return "abuse" }
func (abuseRow) about() string {
	return "abuse: p99 of a quiet client's reads and writes beside one that asks for too much"
}

const (
	quietEvery = 20 * time.Millisecond
	quietFrom  = "127.0.0.2" // the quiet client's address
	alone      = "the same alone"
)

// abuse is what the other client does until ctx ends. It returns what it got.
type abuse struct {
	name string
	do   func(ctx context.Context, at string) (string, error)
}

func (abuseRow) run(ctx context.Context, b *bench) (_ []report.Line, err error) {
	dir, err := b.tempDir("abuse")
	if err != nil {
		return nil, err
	}
	s, err := b.startServe(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	holds, holders, tokens := b.size(200_000), b.size(100_000), b.size(500_000)
	if err := fillAbuse(ctx, "http://"+s.at.HTTP, holds, holders, tokens); err != nil {
		return nil, err
	}
	if _, err := projected(ctx, s.at); err != nil {
		return nil, err
	}
	_, window := b.window()
	base, err := beQuiet(ctx, s, 2*window, nil)
	if err != nil {
		return nil, err
	}
	var lines []report.Line
	for _, a := range []abuse{
		{"50 explanations of many holds", asking(50, func(int) string { return "/stats/whale/holds" })},
		{"4 histories of 1,000 points", asking(4, func(int) string { return "/stats/many/history?points=1000" })},
		{"200 reads of all scores", asking(200, func(int) string { return "/scores" })},
		{"300 slow readers of all scores", unread(300, "/scores")},
		{"50 rankings of new tokens", asking(50, func(i int) string { return "/top?token=token-" + strconv.Itoa(i) })},
		{"200 watches of 1,000 names", unread(200, "/stats/watch?holders="+manyNames(1000))},
	} {
		beside, err := beQuiet(ctx, s, 3*window, a.do)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		note := fmt.Sprintf("peak %.0f MB, was %.0f; %s", float64(beside.peak)/1e6, float64(base.peak)/1e6, beside.got)
		lines = append(lines,
			report.Line{Name: "read beside " + a.name, Value: beside.read, Unit: "ms", Against: alone, AgainstValue: base.read, Aim: report.Aim{report.RatioAtMost(10)}, Note: note},
			report.Line{Name: "write beside " + a.name, Value: beside.write, Unit: "ms", Against: alone, AgainstValue: base.write, Aim: report.Aim{report.RatioAtMost(10)}, Fsync: true})
	}
	return lines, nil
}

// fillAbuse sends a pair of many holds, many holders, and a holder of many tokens.
func fillAbuse(ctx context.Context, url string, holds, holders, tokens int) error {
	began := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(i int) string { return began.Add(time.Duration(i) * 10 * time.Second).Format(time.RFC3339) }
	for _, part := range []struct {
		n    int
		line func(i int) string
	}{
		{holds, func(i int) string {
			return fmt.Sprintf(`{"token_id":"pool","holder_id":"whale","hold_id":"lot-%d","start":"%s","end":"%s","weight":1}`, i, at(i), at(i+2))
		}},
		{holders, func(i int) string {
			return fmt.Sprintf(`{"token_id":"token-%d","holder_id":"%s","start":"%s","weight":1}`, i%64, load.HolderName(i), at(i))
		}},
		{tokens, func(i int) string {
			return fmt.Sprintf(`{"token_id":"many-%d","holder_id":"many","start":"%s","weight":1}`, i, at(i))
		}},
	} {
		for from := 0; from < part.n; from += 50_000 {
			var body strings.Builder
			for i := from; i < min(part.n, from+50_000); i++ {
				body.WriteString(part.line(i))
				body.WriteByte('\n')
			}
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/holds", strings.NewReader(body.String()))
			if err != nil {
				return err
			}
			request.Header.Set("Content-Type", "application/x-ndjson")
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			answer, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil && (response.StatusCode != http.StatusOK || !strings.Contains(string(answer), `"refused":0`)) {
				err = fmt.Errorf("POST /holds: %s: %.200s", response.Status, answer)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// besides is what a quiet client saw: p99 in ms, the server's peak in bytes, and what
// the other client got.
type besides struct {
	read, write float64
	peak        int
	got         string
}

// beQuiet reads and writes for a while, beside an abuse (nil: alone).
func beQuiet(ctx context.Context, s *served, window time.Duration, do func(ctx context.Context, at string) (string, error)) (out besides, err error) {
	pid := s.cmd.Process.Pid
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return out, err // the peak does not begin again
	}
	transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(quietFrom)}}).DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	abusing, stop := context.WithCancel(ctx)
	defer stop()
	var other sync.WaitGroup
	var otherErr error
	if do != nil {
		other.Go(func() { out.got, otherErr = do(abusing, s.at.HTTP) })
		if !load.Pause(ctx, window/4) {
			return out, context.Cause(ctx)
		}
	}
	var reads, writes []time.Duration
	for until := time.Now().Add(window); time.Now().Before(until) || len(reads) < 20; {
		took, err := quietRequest(ctx, client, http.MethodGet, "http://"+s.at.HTTP+"/stats/"+load.HolderName(len(reads)%50), "")
		if err != nil {
			return out, err
		}
		reads = append(reads, took)
		event := fmt.Sprintf(`{"token_id":"quiet","holder_id":"quiet","hold_id":"%d","start":"2024-01-01T00:00:00Z"}`, time.Now().UnixNano())
		if took, err = quietRequest(ctx, client, http.MethodPost, "http://"+s.at.HTTP+"/hold", event); err != nil {
			return out, err
		}
		writes = append(writes, took)
		if !load.Pause(ctx, quietEvery) {
			return out, context.Cause(ctx)
		}
	}
	stop()
	other.Wait()
	if otherErr != nil {
		return out, otherErr
	}
	out.read, out.write = percentile(reads, 0.99), percentile(writes, 0.99)
	out.peak, err = memoryOf(pid, "VmHWM:")
	return out, err
}

func quietRequest(ctx context.Context, client *http.Client, method, url, body string) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s: %.200s", url, response.Status, answer)
	}
	return time.Since(began), err
}

// asking has n requests under way at once, and begins each again when it has ended.
func asking(n int, path func(i int) string) func(ctx context.Context, at string) (string, error) {
	return func(ctx context.Context, at string) (string, error) {
		var asked sync.WaitGroup
		var whole, refused atomic.Int64
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		for i := range n {
			asked.Go(func() {
				for ctx.Err() == nil {
					request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path(i), nil)
					if err != nil {
						return
					}
					response, err := client.Do(request)
					if err != nil {
						continue // until ctx ends
					}
					_, err = io.Copy(io.Discard, response.Body)
					response.Body.Close()
					switch {
					case err == nil && response.StatusCode == http.StatusOK:
						whole.Add(1)
					case response.StatusCode == http.StatusTooManyRequests:
						refused.Add(1)
						load.Pause(ctx, time.Second) // as the answer asks
					}
				}
			})
		}
		asked.Wait()
		return fmt.Sprintf("%d answered, %d times 429", whole.Load(), refused.Load()), nil
	}
}

// unread has n connections that ask and do not read.
func unread(n int, path string) func(ctx context.Context, at string) (string, error) {
	return func(ctx context.Context, at string) (string, error) {
		for range n {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
			if err != nil {
				if ctx.Err() != nil {
					break
				}
				return "", err
			}
			defer c.Close()
			if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				return "", err
			}
			if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, at); err != nil {
				return "", err
			}
		}
		<-ctx.Done()
		return fmt.Sprintf("%d connections that nobody reads", n), nil
	}
}

// manyNames are holders that nobody knows, with commas between them.
func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("unknown-%032x", i)
	}
	return strings.Join(names, ",")
}
