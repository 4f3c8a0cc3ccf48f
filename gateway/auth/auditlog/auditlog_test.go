package auditlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"holdmetrics/gateway/auth"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

func collected(t *testing.T, js jetstream.JetStream, from time.Time) (entries []Entry) {
	t.Helper()
	for e, err := range Read(t.Context(), js, from, false) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

func TestStream(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Start(t))
	for _, err := range Read(t.Context(), js, time.Time{}, false) {
		if !errors.Is(err, ErrNone) {
			t.Errorf("no stream: %v", err)
		}
	}
	testwait.Poll(t, "the stream opens", func() error { return Open(t.Context(), js, 1) })
	if err := Open(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	if got := collected(t, js, time.Time{}); len(got) != 0 {
		t.Errorf("empty: %v", got)
	}
	at := time.Unix(1e9, 5).UTC()
	sent := Entry{At: at, Kind: Act, Who: "alice@host\x1b[2J", What: "drop 1\n2026 act done root" + strings.Repeat("x", 2000), Outcome: Done, Detail: "\u202egnp"}
	if err := Write(t.Context(), js, sent); err != nil {
		t.Fatal(err)
	}
	got := collected(t, js, time.Time{})
	if len(got) != 1 || !got[0].At.Equal(at) || got[0].Sequence != 1 {
		t.Fatalf("%+v", got)
	}
	for _, text := range []string{got[0].Who, got[0].What, got[0].Detail} {
		if strings.ContainsAny(text, "\x1b\n\u202e") || len(text) > 2*maxLong {
			t.Errorf("%q is printed", text)
		}
	}
	if got := collected(t, js, time.Now().Add(time.Hour)); len(got) != 0 {
		t.Errorf("of the future: %v", got)
	}
	// What somebody else has written spoils nothing.
	if _, err := js.Publish(t.Context(), actSubject, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), js, Entry{Kind: Act, Who: "bob", What: "seal", Outcome: Failed}); err != nil {
		t.Fatal(err)
	}
	var read []string
	for e, err := range Read(t.Context(), js, time.Time{}, false) {
		read = append(read, fmt.Sprint(e.Sequence, e.Outcome, err != nil))
	}
	if strings.Join(read, " ") != "1done false 2 true 3failed false" && len(read) != 3 {
		t.Errorf("%q", read)
	}
	// Nobody deletes an entry.
	stream, err := js.Stream(t.Context(), Stream)
	if err != nil {
		t.Fatal(err)
	}
	if stream.DeleteMsg(t.Context(), 1) == nil || stream.Purge(t.Context()) == nil {
		t.Error("an entry was deleted")
	}
}

// Refusals that are alike are one entry, and a flood of kinds is bounded.
func TestRecorder(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	conn := natstest.Connect(t, server)
	js := natstest.JetStream(t, server)
	testwait.Poll(t, "the stream opens", func() error { return Open(t.Context(), js, 1) })
	core, logged := observer.New(zap.WarnLevel)
	r := NewRecorder(RecorderConfig{Conn: conn, JS: js, Logger: zap.New(core), Now: func() int64 { return time.Now().UnixNano() }, Soon: 100 * time.Millisecond, Every: 10 * time.Millisecond})
	key := &auth.Principal{Kind: auth.Key, Name: "shop", ID: "abc"}
	refuse := func(from, call string, reason auth.Reason) {
		r.Refused(auth.Refusal{Principal: key, Reason: reason, Message: "no", Call: call, From: from})
	}
	for n := range 50 {
		refuse(fmt.Sprintf("10.0.0.1:%d", 4000+n), "GET /stats", auth.Scoped)
	}
	refuse("10.0.0.2:1", "GET /stats", auth.Scoped)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	testwait.Poll(t, "two entries are there", func() error {
		got := collected(t, js, time.Time{})
		if len(got) != 2 || got[0].Count != 50 || got[0].From != "10.0.0.1" || got[0].Who != "key:shop (abc)" || got[0].Outcome != "scope" || got[1].Count != 1 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if err := Write(t.Context(), js, Entry{Kind: Act, Who: "alice", What: "drop 2", Outcome: Done}); err != nil {
		t.Fatal(err)
	}
	testwait.Poll(t, "the act is logged", func() error {
		if logged.FilterMessage("an operator acted").Len() != 1 {
			return errors.New("it is not")
		}
		return nil
	})
	for n := range 3 * mostKinds {
		refuse("10.0.0.3:1", fmt.Sprint(n), auth.Missing)
	}
	cancel()
	<-ended
	var total uint64
	got := collected(t, js, time.Time{})
	for _, e := range got[3:] {
		total += e.Count
	}
	if len(got) > 3+3*(mostAtOnce+1) || total != 3*mostKinds {
		t.Errorf("a flood: %d entries of %d refusals", len(got)-3, total)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"who":"a","kind":"act"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decode(data)
		if err != nil {
			return
		}
		for _, text := range []string{e.Who, e.From, e.What, e.Outcome, e.Detail, string(e.Kind)} {
			if strings.ContainsAny(text, "\x1b\n\r\x00") {
				t.Errorf("%q", text)
			}
		}
	})
}
