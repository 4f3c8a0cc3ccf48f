package ingest

import (
	"context"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// now is the clock of the tests, and of the events in them.
const now = int64(1_700_000_000) * 1e9

func testClock() int64 { return now }

// connect opens a connection to an embedded server. In tests a broker that lies,
// seeded by the test's name, stands between them; benchmarks measure the server.
func connect(tb testing.TB, s *server.Server, options ...nats.Option) jetstream.JetStream {
	tb.Helper()
	if _, ok := tb.(*testing.T); !ok {
		return natstest.JetStream(tb, s, options...)
	}
	return natstest.JetStream(tb, natstest.Mild(tb, s), options...)
}

// openLog makes a log of its own for a test.
func openLog(tb testing.TB) *Log {
	tb.Helper()
	js := connect(tb, natstest.Start(tb))
	var l *Log
	testwait.Poll(tb, "the log opens", func() (err error) { // a busy machine takes longer than a request may
		l, err = OpenLog(tb.Context(), js, LogConfig{})
		return err
	})
	return l
}

// open is an open hold of a pair that Check accepts at testClock.
func open(token, holder string, start int64) hold.Draft {
	return hold.Draft{Token: token, Holder: holder, Start: hold.Stamp{Seconds: start, Set: true}}
}

// stored is a message of the log.
type stored struct {
	subject  string
	sequence uint64
	data     []byte
	header   nats.Header
}

// messages reads the whole log.
func messages(tb testing.TB, l *Log) []stored {
	tb.Helper()
	last, err := l.LastPosition(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var all []stored
	for seq := uint64(1); seq <= last; seq++ {
		m, err := l.events.GetMsg(tb.Context(), seq)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, stored{m.Subject, m.Sequence, m.Data, m.Header})
	}
	return all
}

// eventsOf reads the frames of the log, and fails on one that is damaged or holds
// an event of another partition. It tells at which position each event is.
func eventsOf(tb testing.TB, l *Log) map[hold.Draft][]uint64 {
	tb.Helper()
	all := map[hold.Draft][]uint64{}
	for _, m := range messages(tb, l) {
		r := ReadFrame(m.data)
		for b, ok := r.Next(); ok; b, ok = r.Next() {
			var d hold.Draft
			if err := DecodeEvent(b, &d); err != nil {
				tb.Fatal(err)
			}
			if want := LogSubject(Partition(d.Holder, l.Partitions())); m.subject != want {
				tb.Fatalf("an event of %q is under %s, want %s", d.Holder, m.subject, want)
			}
			all[d] = append(all[d], m.sequence)
		}
		if err := r.Err(); err != nil {
			tb.Fatal(err)
		}
		if r.Index() > MaxFrameEvents || len(m.data) > MaxFrameBytes {
			tb.Fatalf("frame of %d events, %d bytes", r.Index(), len(m.data))
		}
	}
	return all
}

func mustClose(tb testing.TB, p *Producer) {
	tb.Helper()
	if err := p.Close(context.WithoutCancel(tb.Context())); err != nil {
		tb.Fatal(err)
	}
}
