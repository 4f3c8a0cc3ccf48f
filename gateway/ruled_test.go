package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// doubled are rules by hand: the token x counts twice, lots needs hold_ids, and
// ids are in lower case.
type doubled struct{ hold.Rules }

func (doubled) Version() string { return "twice" }
func (d doubled) Of(token string) *hold.Rule {
	rule := *d.Rules.Of(token)
	switch token {
	case "x":
		rule.Multiplier = 2 * hold.MultiplierOne
	case "lots":
		rule.NeedsID = true
	}
	return &rule
}
func (doubled) Holder(id string) string { return strings.ToLower(id) }
func (doubled) Token(id string) string  { return strings.ToLower(id) }
func (doubled) NormalisesHolders() bool { return true }

func ruled(w *gatewaytest.World) {
	w.Cfg.Rules, w.Cfg.Generation = doubled{hold.PlainRules(hold.Merge)}, "g2"
}

// keeping is a producer that keeps what it is sent.
type keeping struct {
	fakes.Producer
	drafts []hold.Draft
}

func (p *keeping) Record(ctx context.Context, d *hold.Draft) (uint64, error) {
	p.drafts = append(p.drafts, *d)
	return p.Producer.Record(ctx, d)
}

// The servers refuse what the rules refuse, and send what was sent, with its ids as
// they are: other generations read the log too.
func TestServersFollowTheRules(t *testing.T) {
	t.Parallel()
	p := &keeping{}
	w := gatewaytest.NewWorld(t, ruled, func(w *gatewaytest.World) { w.Cfg.Producer = p })
	good := &holdpb.HoldMsg{TokenId: "X", HolderId: "Alice", Start: fakes.Timestamp(fakes.TestNow - 100e9)}
	if _, err := w.Metrics().Record(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if len(p.drafts) != 1 || p.drafts[0].Token != "X" || p.drafts[0].Holder != "Alice" {
		t.Fatalf("sent %+v", p.drafts)
	}
	bare := &holdpb.HoldMsg{TokenId: "LOTS", HolderId: "alice", Start: fakes.Timestamp(fakes.TestNow - 100e9)}
	_, err := w.Metrics().Record(t.Context(), bare)
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "hold_id is required by the rules of this token") {
		t.Fatal(err)
	}
	stream, err := w.Metrics().Broadcast(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(bare); err != nil {
		t.Fatal(err)
	}
	if ack, err := stream.Recv(); err != nil || ack.Ok || !strings.HasPrefix(ack.Error, "hold_id") {
		t.Fatalf("%v, %v", ack, err)
	}
	answer, err := http.Post(w.Url+"/hold", "application/json", strings.NewReader(`{"token_id":"lots","holder_id":"bob","start":"2023-11-14T00:00:00Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(body), "hold_id") {
		t.Fatalf("%d %s", answer.StatusCode, body)
	}
}

// Every read counts by the rules of the generation, takes ids in any case, and
// says by what rules.
func TestReadsGoByTheRules(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, ruled)
	start := fakes.TestNow/1e9 - 100
	w.Apply(t, 7, fakes.TestNow, fakes.OpenHold("x", "alice", start, 1), fakes.OpenHold("y", "alice", start, 1), fakes.OpenHold("y", "bob", start, 1))
	q := w.Query()
	asOf := fakes.Timestamp(fakes.TestNow)
	scores, err := q.Scores(t.Context(), &holdpb.ScoresRequest{HolderId: "ALICE", AsOf: asOf, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := scores.Recv(); err != nil || s.HolderId != "alice" || s.Score != "300" || s.TotalScore != "400" || s.Rules != "twice" || s.Generation != "g2" {
		t.Fatalf("%v, %v", s, err)
	}
	window, err := q.Scores(t.Context(), &holdpb.ScoresRequest{HolderId: "alice", TokenId: "X", From: fakes.Timestamp(fakes.TestNow - 10e9), To: asOf})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := window.Recv(); err != nil || s.Score != "20" {
		t.Fatalf("%v, %v", s, err)
	}
	explain, err := q.Explain(t.Context(), &holdpb.ExplainRequest{HolderId: "Alice", TokenId: "X", AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := explain.Recv(); err != nil || c.Counted != "200" || c.Rules != "twice" || c.Generation != "g2" {
		t.Fatalf("%v, %v", c, err)
	}
	history, err := q.History(t.Context(), &holdpb.HistoryRequest{HolderId: "Alice", To: asOf, Points: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0", "300"} {
		if p, err := history.Recv(); err != nil || p.Score != want || p.Rules != "twice" || p.Generation != "g2" {
			t.Fatalf("%v, %v", p, err)
		}
	}
	stats, err := w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{HolderIds: []string{"Alice", "alice"}, AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := stats.Recv(); err != nil || s.HolderId != "alice" || s.LiveScore != "300" || s.Rules != "twice" || s.Generation != "g2" {
		t.Fatalf("%v, %v", s, err)
	}
	if s, err := stats.Recv(); err != io.EOF {
		t.Fatalf("the same holder twice: %v, %v", s, err)
	}
	if body := gatewaytest.Get(t, w, "/stats/ALICE?as_of=1700000000", http.StatusOK); !strings.Contains(string(body), `"score":"300"`) || !strings.Contains(string(body), `"rules":"twice","generation":"g2"`) {
		t.Fatalf("%s", body)
	}
}

// Where holders are normalised a read waits for the whole log, if the event that it
// wants may lie in any partition: where case moves holders between them.
func TestReadsWaitForTheWholeLog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		partitions int
		after      uint64
		want       uint64
	}{{3, 0, 9}, {3, 5, 5}, {3, 9, 9}, {4, 0, 3}, {4, 2, 2}, {4, 9, 3}} {
		partitions := c.partitions
		waited := make(chan uint64, 1)
		w := gatewaytest.NewWorld(t, ruled, func(w *gatewaytest.World) {
			alice := ingest.Partition("alice", partitions)
			w.Cfg.Log = &fakes.Log{Size: partitions, Ends: map[int]uint64{alice: 3, (alice + 1) % partitions: 9}}
			w.Cfg.WaitApplied = func(_ context.Context, partition int, position uint64) error {
				if partition == alice {
					waited <- position
				}
				return nil
			}
		})
		w.Apply(t, 3, fakes.TestNow, fakes.OpenHold("x", "alice", 1_600_000_000, 1))
		gatewaytest.Get(t, w, fmt.Sprint("/stats/ALICE?after=", c.after), http.StatusOK)
		if position := <-waited; position != c.want {
			t.Fatalf("%+v: waited for %d", c, position)
		}
	}
}
