package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"holdmetrics/hold"
	"holdmetrics/test/bench/internal/child"
)

// holdsAnswer is a line of the answer of POST /holds: a refused event, or the
// summary, which comes last.
type holdsAnswer struct {
	Accepted *int64 `json:"accepted"`
}

// HoldsRole posts bodies of NDJSON, one after the other on each connection.
func HoldsRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[Input](raw)
	if err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: in.Workers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	r, err := drive(ctx, in.Window, in.Workers, func(ctx context.Context, w int, count *atomic.Int64) error {
		events := NewSource(w, in.Workers, in.Holders)
		var body []byte
		var d hold.Draft
		for ctx.Err() == nil {
			body = body[:0]
			for range in.Batch {
				events.Next(&d)
				body = appendJSON(body, &d)
			}
			accepted, err := postHolds(ctx, client, "http://"+in.At.HTTP+"/holds", body)
			if err != nil {
				return UnlessDone(ctx, err)
			}
			if accepted != int64(in.Batch) {
				return fmt.Errorf("%w: %d of %d were accepted", errRefused, accepted, in.Batch)
			}
			count.Add(accepted)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer(r)
}

// postHolds gives the number of accepted events, from the summary.
func postHolds(ctx context.Context, client *http.Client, url string, body []byte) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return 0, fmt.Errorf("POST /holds: %s: %s", response.Status, text)
	}
	var last []byte
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		last = append(last[:0], lines.Bytes()...)
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	var summary holdsAnswer
	if err := json.Unmarshal(last, &summary); err != nil || summary.Accepted == nil {
		return 0, fmt.Errorf("POST /holds: the last line is no summary: %q", last)
	}
	return *summary.Accepted, nil
}

// appendJSON appends an ended hold as one line of POST /holds.
func appendJSON(dst []byte, d *hold.Draft) []byte {
	dst = append(dst, `{"token_id":"`...)
	dst = append(dst, d.Token...)
	dst = append(dst, `","holder_id":"`...)
	dst = append(dst, d.Holder...)
	dst = append(dst, `","start":"`...)
	dst = time.Unix(d.Start.Seconds, 0).UTC().AppendFormat(dst, time.RFC3339)
	dst = append(dst, `","end":"`...)
	dst = time.Unix(d.End.Seconds, 0).UTC().AppendFormat(dst, time.RFC3339)
	dst = append(dst, `","weight":`...)
	dst = strconv.AppendFloat(dst, d.Weight, 'f', -1, 64)
	return append(dst, '}', '\n')
}
