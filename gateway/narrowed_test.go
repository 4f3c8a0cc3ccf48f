package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest/transparency"
	holdpb "holdmetrics/proto"
)

// twins are two worlds that have the same of token x, and of holder alice, but differ in
// everything else: other tokens and holders with other figures. The answers to a key that is
// narrowed to x must be the same in both.
func twins(t *testing.T) (worlds [2]*gatewaytest.World) {
	for i := range worlds {
		keys := gatewaytest.NewKeys()
		keys.Add("x", auth.Read, []string{"x"}, nil)
		keys.Add("alice", auth.Read, nil, []string{"alice"})
		keys.Add("both", auth.Read, []string{"x"}, []string{"alice"})
		keys.Add("nothing", auth.Read, []string{}, nil)
		keys.Add("no-holder", auth.Read, nil, []string{})
		keys.Add("x-star", auth.Read, []string{"x*"}, nil)
		// By token: x is the same, and what else each holder has is not. By holder: alice is
		// the same in the first pair of worlds, see the other twins.
		stats := []*holdpb.HoldStat{
			gatewaytest.StatOf("alice", []string{"2500", "777000"}[i], []string{"1", "9"}[i]),
			gatewaytest.StatOf("bob", []string{"10", "99999"}[i], []string{"0", "5"}[i]),
			gatewaytest.StatOf([]string{"carol", "dave"}[i], "5", "1"),
		}
		drafts := []hold.Draft{
			fakes.Held("x", "alice", 1000, 2000, 2.5),
			fakes.Held("x", "bob", 1000, 2000, 1),
			fakes.OpenHold("x", "erin", 1500, 1),
			fakes.Held("x", "frank", 1200, 2000, 3),
		}
		for n := range 12 { // so that every partition has something in both
			drafts = append(drafts, fakes.Held("x", fmt.Sprint("filler-", n), 1000, 1001, 1))
		}
		if i == 0 {
			drafts = append(drafts, fakes.Held("y", "alice", 1000, 1100, 3), fakes.OpenHold("z", "carol", 5000, 7))
		} else {
			drafts = append(drafts, fakes.OpenHold("y", "alice", 10, 30), fakes.Held("y", "bob", 10, 20, 4), fakes.Held("zz", "dave", 10, 20, 1), fakes.Held("z", "frank", 10, 20, 1))
		}
		w := gatewaytest.NewWorld(t, keys.Authenticated, func(w *gatewaytest.World) { w.Cfg.Snapshots = fakes.ReadySnapshots(stats...) })
		w.Apply(t, 9, 1_650_000_000e9, drafts...)
		worlds[i] = w
	}
	return worlds
}

// attacks are questions about what a narrowed key has not.
var attackPaths = []string{
	"/stats", "/stats?format=csv", "/stats?holder=alice", "/stats?holders=alice,bob,carol", "/stats?holder=carol", "/stats?holder=dave", "/stats?holder=nobody",
	"/stats?as_of=1800", "/stats?as_of=1800&holder=alice", "/stats?from=1&to=9&holder=dave", "/stats?as_of=2400-01-01T00:00:00Z", "/stats?as_of=now&holder=carol",
	"/stats/alice", "/stats/bob", "/stats/carol", "/stats/dave", "/stats/nobody", "/stats/alice?share=true", "/stats/alice?as_of=1500", "/stats/frank?from=1&to=20",
	"/stats/alice/holds", "/stats/alice/holds?token=x", "/stats/alice/holds?token=y", "/stats/alice/holds?token=q", "/stats/carol/holds?token=x", "/stats/dave/holds?token=x", "/stats/frank/holds?token=z",
	"/stats/alice/history", "/stats/alice/history?token=x", "/stats/alice/history?token=y", "/stats/carol/history?token=x", "/stats/dave/history?token=x", "/stats/alice/history?token=x&points=2&to=1800",
	"/stats/alice/rank", "/stats/alice/rank?token=x", "/stats/alice/rank?token=y", "/stats/carol/rank?token=x", "/stats/dave/rank?token=x", "/stats/dave/rank", "/stats/alice/rank?token=x&by=live",
	"/scores", "/scores?by_token=true", "/scores?share=true", "/scores?token=x", "/scores?token=y", "/scores?token=x&by_token=true", "/scores?token=x&share=true", "/scores?token=x&share=true&by_token=true&digits=40",
	"/scores?holder=alice", "/scores?holder=alice&by_token=true", "/scores?holder=alice&token=x", "/scores?holder=alice&token=x&share=true", "/scores?holder=alice&token=y", "/scores?holder=carol&token=x", "/scores?holder=dave&token=x", "/scores?holder=carol", "/scores?token=x&as_of=1700",
	"/scores?token=", "/scores?token=x%00", "/scores?token=X", "/scores?token=x&token=y", "/scores?token=y&token=x", "/scores?holder=alice&holder=bob", "/scores?token=*", "/scores?token=x*",
	"/top", "/top?token=x", "/top?token=y", "/top?token=x&by=live", "/top?token=x&limit=1", "/top?by=live",
	"/status", "/metrics", "/readyz", "/healthz",
}

var cursorText = regexp.MustCompile(`(cursor|request_id)[=":]+[A-Za-z0-9_-]+`)

// Nothing that a narrowed key can ask is answered differently in two worlds that differ in
// what is none of its business.
func TestANarrowedKeyLearnsNothingOfOthers(t *testing.T) {
	t.Parallel()
	worlds := twins(t)
	told := map[string]int{}
	for _, key := range []string{"x", "x-star", "both", "nothing"} {
		for _, path := range attackPaths {
			var got [2]string
			for i, w := range worlds {
				resp, body := w.Ask(t, key, http.MethodGet, path, "")
				resp.Header.Del("Date")
				resp.Header.Del("X-Request-Id")
				resp.Header.Del("Content-Length")                                                      // a cursor has a random number
				got[i] = cursorText.ReplaceAllString(fmt.Sprint(resp.Status, resp.Header, body), "$1") // which has a random number
				if resp.StatusCode == http.StatusOK {
					told[key]++
				}
			}
			if got[0] != got[1] {
				t.Errorf("key %s, GET %s: told apart:\n%s\n%s", key, path, got[0], got[1])
			}
			if strings.Contains(path, "?token=y") && strings.HasPrefix(got[0], "200") {
				t.Errorf("key %s, GET %s: answered", key, path)
			}
		}
	}
	// The keys are of use all the same.
	if told["x"] < 30 || told["both"] < 6 {
		t.Errorf("answers: %v", told)
	}
}

// A cursor of a ranking that is none of the key's business is of no use to it.
func TestANarrowedKeyCannotTakeACursor(t *testing.T) {
	t.Parallel()
	w := twins(t)[1]
	page := func(key, query string) (int, string) {
		resp, body := w.Ask(t, key, http.MethodGet, "/top?"+query, "")
		return resp.StatusCode, body
	}
	_, all := page("r", "token=y&limit=1")
	_, rest, ok := strings.Cut(all, `"next_cursor":"`)
	if !ok {
		t.Fatalf("no cursor: %s", all)
	}
	cursor, _, _ := strings.Cut(rest, `"`)
	for _, query := range []string{"cursor=" + cursor, "token=x&cursor=" + cursor, "token=y&cursor=" + cursor} {
		if code, body := page("x", query); code == http.StatusOK || strings.Contains(body, "alice") || strings.Contains(body, "bob") {
			t.Errorf("%s: %d %s", query, code, body)
		}
	}
}

// The same questions by gRPC.
func TestANarrowedKeyLearnsNothingByGRPC(t *testing.T) {
	t.Parallel()
	worlds := twins(t)
	asOf := fakes.Seconds(1800)
	questions := map[string]func(w *gatewaytest.World, key string) (string, error){}
	ask := func(name string, f func(w *gatewaytest.World, key string) (string, error)) { questions[name] = f }
	for _, holder := range []string{"", "alice", "carol", "dave", "nobody"} {
		for _, token := range []string{"", "x", "y", "zz"} {
			name := fmt.Sprintf("%q of %q", holder, token)
			ask("scores "+name, func(w *gatewaytest.World, key string) (string, error) {
				rows, err := gatewaytest.Received(w.Query().Scores(gatewaytest.With(t.Context(), key), &holdpb.ScoresRequest{HolderId: holder, TokenId: token, AsOf: asOf, ByToken: true}))
				return texts(rows), err
			})
			ask("shares "+name, func(w *gatewaytest.World, key string) (string, error) {
				rows, err := gatewaytest.Received(w.Query().Scores(gatewaytest.With(t.Context(), key), &holdpb.ScoresRequest{HolderId: holder, TokenId: token, Share: true}))
				return texts(rows), err
			})
			ask("explain "+name, func(w *gatewaytest.World, key string) (string, error) {
				rows, err := gatewaytest.Received(w.Query().Explain(gatewaytest.With(t.Context(), key), &holdpb.ExplainRequest{HolderId: holder, TokenId: token}))
				return texts(rows), err
			})
			ask("history "+name, func(w *gatewaytest.World, key string) (string, error) {
				rows, err := gatewaytest.Received(w.Query().History(gatewaytest.With(t.Context(), key), &holdpb.HistoryRequest{HolderId: holder, TokenId: token, Points: 3}))
				return texts(rows), err
			})
			ask("rank "+name, func(w *gatewaytest.World, key string) (string, error) {
				a, err := w.Query().Rank(gatewaytest.With(t.Context(), key), &holdpb.RankRequest{HolderId: holder, TokenId: token})
				return texts([]*holdpb.RankAnswer{a}), err
			})
			ask("top "+name, func(w *gatewaytest.World, key string) (string, error) {
				a, err := w.Query().Top(gatewaytest.With(t.Context(), key), &holdpb.TopRequest{TokenId: token})
				return texts([]*holdpb.TopAnswer{a}), err
			})
		}
		var holders []string
		if holder != "" {
			holders = []string{holder}
		}
		ask("stats of "+holder, func(w *gatewaytest.World, key string) (string, error) {
			rows, err := gatewaytest.Received(w.Metrics().Stats(gatewaytest.With(t.Context(), key), &holdpb.StatsRequest{HolderIds: holders}))
			return texts(rows), err
		})
		ask("snapshot of "+holder, func(w *gatewaytest.World, key string) (string, error) {
			rows, err := gatewaytest.Received(w.Query().GetSnapshot(gatewaytest.With(t.Context(), key), &holdpb.StatsRequest{HolderIds: holders}))
			return texts(rows), err
		})
		ask("stored of "+holder, func(w *gatewaytest.World, key string) (string, error) {
			rows, err := gatewaytest.Received(w.Metrics().Stats(gatewaytest.With(t.Context(), key), &holdpb.StatsRequest{HolderIds: holders, AsOf: asOf}))
			return texts(rows), err
		})
	}
	ask("status", func(w *gatewaytest.World, key string) (string, error) {
		a, err := w.Query().Status(gatewaytest.With(t.Context(), key), &holdpb.Empty{})
		return texts([]*holdpb.StatusAnswer{a}), err
	})
	for _, key := range []string{"x", "both", "nothing", "no-holder"} {
		for name, question := range questions {
			var got [2]string
			for i, w := range worlds {
				text, err := question(w, key)
				got[i] = fmt.Sprint(text, " ", err)
			}
			if got[0] != got[1] {
				t.Errorf("key %s, %s: told apart:\n%s\n%s", key, name, got[0], got[1])
			}
		}
	}
}

func texts[T proto.Message](rows []T) string {
	var b strings.Builder
	for _, r := range rows {
		b.Write(fakes.Marshal(r))
	}
	return b.String()
}

// A key that is narrowed to holders reads those alone, and nothing that compares them.
func TestAKeyOfAHolder(t *testing.T) {
	t.Parallel()
	w := twins(t)[0]
	for path, want := range map[string]int{
		"/stats?holder=alice":                   200,
		"/stats?holder=alice&as_of=1800":        200,
		"/stats/alice":                          200,
		"/stats/alice/holds":                    200,
		"/stats/alice/history?points=3":         200,
		"/scores?holder=alice&by_token=true":    200,
		"/scores?holder=alice&token=y":          200,
		"/stats":                                403,
		"/stats?as_of=1800":                     403,
		"/stats?holders=alice,bob":              403,
		"/stats/bob":                            403,
		"/stats/nobody":                         403,
		"/stats/alice?share=true":               403,
		"/stats/alice/rank":                     403,
		"/stats/bob/holds":                      403,
		"/stats/bob/history":                    403,
		"/scores":                               403,
		"/scores?token=x":                       403,
		"/scores?holder=alice&share=true":       403,
		"/top":                                  403,
		"/top?token=x":                          403,
		"/status":                               403,
		"/stats/watch":                          403,
		"/stats/watch?holder=bob":               403,
		"/stats/watch?holders=alice,bob":        403,
		"/stats?holder=" + url.QueryEscape("*"): 403,
	} {
		if resp, body := w.Ask(t, "alice", http.MethodGet, path, ""); resp.StatusCode != want {
			t.Errorf("GET %s: %s %s", path, resp.Status, body)
		}
	}
	// A watch of its holders begins.
	stream, err := w.Metrics().Stats(gatewaytest.With(t.Context(), "alice"), &holdpb.StatsRequest{Watch: true, HolderIds: []string{"alice"}})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := stream.Recv(); err != nil || s.HolderId != "alice" {
		t.Errorf("watch: %v, %v", s, err)
	}
	for key, holders := range map[string][]string{"alice": {"bob"}, "x": {"alice"}, "both": {"alice"}, "no-holder": {"alice"}} {
		stream, err := w.Metrics().Stats(gatewaytest.With(t.Context(), key), &holdpb.StatsRequest{Watch: true, HolderIds: holders})
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("key %s watches %v: %v", key, holders, err)
		}
	}
}

// An event that the key may not send is refused in its place; its neighbours are taken.
func TestNarrowedWrites(t *testing.T) {
	t.Parallel()
	keys := gatewaytest.NewKeys()
	keys.Add("game", auth.Write, []string{"game-*"}, []string{"alice", "bot-*"})
	w := gatewaytest.NewWorld(t, keys.Authenticated)
	event := func(token, holder string) *holdpb.HoldMsg {
		return &holdpb.HoldMsg{TokenId: token, HolderId: holder, Start: fakes.Seconds(1000)}
	}
	sent := []*holdpb.HoldMsg{event("game-1", "alice"), event("other", "alice"), event("game-2", "bot-7"), event("game-2", "bob"), event("", "alice"), event("Game-1", "alice"), event("game-", "bot-")}
	fields := []string{"", "token_id", "", "holder_id", "token_id", "token_id", ""}
	ctx := gatewaytest.With(t.Context(), "game")

	for i, e := range sent {
		_, err := w.Metrics().Record(ctx, e)
		if want := map[bool]codes.Code{true: codes.OK, false: codes.PermissionDenied}[fields[i] == ""]; status.Code(err) != want || gatewaytest.Violated(err) != fields[i] {
			t.Errorf("record %v: %v", e, err)
		}
	}
	stream, err := w.Metrics().Broadcast(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range sent {
		if err := stream.Send(e); err != nil {
			t.Fatal(err)
		}
		if ack, err := stream.Recv(); err != nil || ack.Ok != (fields[i] == "") || ack.Field != fields[i] {
			t.Errorf("broadcast %v: %v, %v", e, ack, err)
		}
	}
	batches, err := w.Metrics().BroadcastBatch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := batches.Send(&holdpb.HoldBatch{Events: sent}); err != nil {
		t.Fatal(err)
	}
	ack, err := batches.Recv()
	if err != nil || ack.Accepted != 3 || len(ack.Refused) != 4 {
		t.Fatalf("batch: %v, %v", ack, err)
	}
	for _, r := range ack.Refused {
		if r.Field != fields[r.Index] {
			t.Errorf("batch: %v", r)
		}
	}
	var body strings.Builder
	for i, e := range sent {
		line := fmt.Sprintf(`{"token_id":%q,"holder_id":%q,"start":1000}`, e.TokenId, e.HolderId)
		body.WriteString(line + "\n")
		want := map[bool]int{true: 202, false: 403}[fields[i] == ""]
		if resp, text := w.Ask(t, "game", http.MethodPost, "/hold", line); resp.StatusCode != want {
			t.Errorf("POST /hold %s: %s %s", line, resp.Status, text)
		}
	}
	resp, text := w.Ask(t, "game", http.MethodPost, "/holds", body.String())
	if resp.StatusCode != 200 || !strings.Contains(text, `"accepted":3,"refused":4`) || !strings.Contains(text, `{"line":4,"field":"holder_id"`) {
		t.Errorf("POST /holds: %s %s", resp.Status, text)
	}
	for _, r := range keys.Refusals() {
		if r.Reason != auth.Narrowed || r.Principal.Name != "game" {
			t.Errorf("reported: %+v", r)
		}
	}
}

// By rules that normalise ids, a key counts for all forms of an id, and a pattern for the
// form that the rules write.
func TestNarrowedByRules(t *testing.T) {
	t.Parallel()
	const lower, mixed = "0xabcdef0123456789abcdef0123456789abcdef01", "0xABCDef0123456789abcdef0123456789abcdef01"
	keys := gatewaytest.NewKeys()
	keys.Add("exact", auth.Write, nil, []string{mixed})
	keys.Add("pattern", auth.Write, nil, []string{"0xabc*"})
	keys.Add("upper", auth.Write, nil, []string{"0xABC*"})
	w := gatewaytest.NewWorld(t, keys.Authenticated, func(w *gatewaytest.World) { w.Cfg.Rules = evmRules(t) })
	for key, want := range map[string]codes.Code{"exact": codes.OK, "pattern": codes.OK, "upper": codes.PermissionDenied} {
		for _, holder := range []string{lower, mixed} {
			_, err := w.Metrics().Record(gatewaytest.With(t.Context(), key), &holdpb.HoldMsg{TokenId: "x", HolderId: holder, Start: fakes.Seconds(1000)})
			if status.Code(err) != want {
				t.Errorf("key %s, holder %s: %v", key, holder, err)
			}
		}
	}
}

// A stream ends when its key is revoked, and takes no event after that.
func TestRevokedStreamsEnd(t *testing.T) {
	t.Parallel()
	keys := gatewaytest.NewKeys()
	w := gatewaytest.NewWorld(t, keys.Authenticated, func(w *gatewaytest.World) {
		w.Cfg.Snapshots = fakes.ReadySnapshots(gatewaytest.StatOf("alice", "1", "0"))
	})
	ctx := gatewaytest.With(t.Context(), "all")
	events, err := w.Metrics().Broadcast(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Send(gatewaytest.GoodEvent(1)); err != nil {
		t.Fatal(err)
	}
	if ack, err := events.Recv(); err != nil || !ack.Ok {
		t.Fatal(ack, err)
	}
	watch, err := w.Metrics().Stats(ctx, &holdpb.StatsRequest{Watch: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // alice, and the mark
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Url+"/stats/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer hm_all")
	sse, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer sse.Body.Close()

	keys.Known["all"].Session.End(auth.Rejected(auth.Invalid, "the key was revoked", ""))
	if _, err := watch.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("watch: %v", err)
	}
	_ = events.Send(gatewaytest.GoodEvent(2))
	if ack, err := events.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("broadcast: %v, %v", ack, err)
	}
	var end [1 << 12]byte
	for err = nil; err == nil; { // the answer ends
		_, err = sse.Body.Read(end[:])
	}
	if resp, _ := w.Ask(t, "all", http.MethodGet, "/stats", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a request afterwards: %s", resp.Status)
	}
}

// Quotas refuse with the time to come back.
func TestQuotas(t *testing.T) {
	t.Parallel()
	now := fakes.TestNow
	keys := gatewaytest.NewKeys()
	limited := keys.Add("limited", auth.Write|auth.Read, nil, nil)
	limited.Usage = auth.NewUsage(auth.Quotas{Events: 2, Streams: 2, Watches: 1}, func() int64 { return now })
	w := gatewaytest.NewWorld(t, keys.Authenticated)
	line := gatewaytest.GoodLine(1)
	var last *http.Response
	for range 3 {
		last, _ = w.Ask(t, "limited", http.MethodPost, "/hold", line)
	}
	if last.StatusCode != http.StatusTooManyRequests || last.Header.Get("Retry-After") != "1" {
		t.Errorf("the third event: %s, %v", last.Status, last.Header)
	}
	_, err := w.Metrics().Record(gatewaytest.With(t.Context(), "limited"), gatewaytest.GoodEvent(1))
	if wait := retryOf(err); status.Code(err) != codes.ResourceExhausted || wait <= 0 || wait > time.Second {
		t.Errorf("by gRPC: %v, come back in %v", err, wait)
	}
	now += 1e9
	resp, text := w.Ask(t, "limited", http.MethodPost, "/holds", strings.Repeat(line+"\n", 3000))
	var summary struct {
		Accepted int    `json:"accepted"`
		Error    string `json:"error"`
		ResumeAt int    `json:"resume_at"`
	}
	if err := json.Unmarshal([]byte(text), &summary); err != nil || resp.StatusCode != 200 || summary.Accepted == 0 || summary.ResumeAt != summary.Accepted+1 || !strings.Contains(summary.Error, "2 events a second") {
		t.Errorf("many at once: %s %s", resp.Status, text)
	}
	resp, text = w.Ask(t, "limited", http.MethodPost, "/holds", line)
	wait, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != 429 || err != nil || wait < (summary.Accepted-2)/2 || wait > summary.Accepted {
		t.Errorf("right after: %s %s %s", resp.Status, resp.Header.Get("Retry-After"), text)
	}
	now += int64(wait) * 1e9
	if resp, text := w.Ask(t, "limited", http.MethodPost, "/hold", line); resp.StatusCode != 202 {
		t.Errorf("at the time of the refusal: %s %s", resp.Status, text)
	}
	now += 600e9
	if resp, text := w.Ask(t, "limited", http.MethodPost, "/hold", line); resp.StatusCode != 202 {
		t.Errorf("later: %s %s", resp.Status, text)
	}

	watching := func() error {
		stream, err := w.Metrics().Stats(gatewaytest.With(t.Context(), "limited"), &holdpb.StatsRequest{Watch: true})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	if err := watching(); err != nil {
		t.Fatal(err)
	}
	if err := watching(); status.Code(err) != codes.ResourceExhausted || retryOf(err) == 0 {
		t.Errorf("a second watch: %v", err)
	}
	open, err := w.Metrics().Broadcast(gatewaytest.With(t.Context(), "limited"))
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Send(gatewaytest.GoodEvent(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := open.Recv(); err != nil {
		t.Fatal(err)
	}
	third, err := w.Metrics().Broadcast(gatewaytest.With(t.Context(), "limited"))
	if err == nil {
		_, err = third.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a third stream: %v", err)
	}
}

// Errors of the server have their details for those alone who may see all of it.
func TestErrorsAreHidden(t *testing.T) {
	t.Parallel()
	keys := gatewaytest.NewKeys()
	keys.Add("x", auth.Read, []string{"x"}, nil)
	w := gatewaytest.NewWorld(t, keys.Authenticated, func(w *gatewaytest.World) {
		w.Cfg.Reader = gatewaytest.NoReader{Reader: w.Cfg.Reader, Err: fmt.Errorf("pair of token y and holder carol: %w", query.ErrUnavailable)}
	})
	for key, seen := range map[string]bool{"r": true, "x": false} {
		resp, body := w.Ask(t, key, http.MethodGet, "/scores?token=x", "")
		if resp.StatusCode < 500 || strings.Contains(body, "carol") != seen {
			t.Errorf("key %s: %s %s", key, resp.Status, body)
		}
	}
}

// evmRules are rules that normalise ids.
func evmRules(t *testing.T) hold.Rules {
	t.Helper()
	r, err := rules.Parse("test", []byte("ids: evm"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// retryOf is when a status asks its client to come back; 0: it does not.
func retryOf(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return r.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// proofsOf proves nothing, but for everybody.
type proofsOf struct{ query.Proofs }

func (proofsOf) Prove(context.Context, uint64, uint64) (*transparency.Proof, error) {
	return nil, query.ErrNoProofs
}

func (proofsOf) Compare(context.Context, uint64, uint64) (*transparency.Consistency, error) {
	return nil, query.ErrNoProofs
}

// Messages of the log have events of all, so a narrowed key gets none of them.
func TestANarrowedKeyGetsNoProofs(t *testing.T) {
	t.Parallel()
	keys := gatewaytest.NewKeys()
	keys.Add("x", auth.Read, []string{"x"}, nil)
	w := gatewaytest.NewWorld(t, keys.Authenticated, func(w *gatewaytest.World) { w.Cfg.Proofs = proofsOf{} })
	for _, path := range []string{"/audit/proof?position=1&message=true", "/audit/consistency?from=1"} {
		if resp, body := w.Ask(t, "x", http.MethodGet, path, ""); resp.StatusCode != http.StatusForbidden {
			t.Errorf("GET %s: %s %s", path, resp.Status, body)
		}
		if resp, body := w.Ask(t, "r", http.MethodGet, path, ""); resp.StatusCode == http.StatusForbidden {
			t.Errorf("GET %s of all: %s %s", path, resp.Status, body)
		}
	}
}
