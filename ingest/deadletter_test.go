package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"holdmetrics/internal/natstest"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestDeadLetterRoundTrip(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	deadLetters := []DeadLetter{
		{Partition: 3, Sequence: 1 << 63, Index: 511, Reason: "holder_id is required", Field: "holder_id", Origin: "log 1 hold.log.3", ContentType: JSONContentType, Data: []byte("{}"), Size: 2},
		{Partition: 0, Sequence: 1, Index: 0, Reason: "unreadable", Data: []byte{0, 'H', 9}, Size: 3},
		{Partition: 2, Sequence: 7, Index: 5, Reason: "cut before", Data: []byte("abc"), Truncated: true, Size: 1000},
		{Partition: 0, Sequence: 1, Index: 1, Data: []byte{}},
	}
	for range 2 { // the second time changes nothing
		for _, d := range deadLetters {
			if err := l.DeadLetters().Publish(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, err := l.DeadLetters().Count(t.Context()); err != nil || n != 4 {
		t.Fatalf("%d dead letters, %v", n, err)
	}
	s, err := l.js.Stream(t.Context(), DeadLetterStream)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range deadLetters {
		m, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadDeadLetter(m.Subject(), m.Headers(), m.Data())
		if len(got.Data) == 0 {
			got.Data = []byte{}
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}

func TestDeadLetterReasonIsOneLine(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	d := DeadLetter{Reason: " bad\r\nNats-Msg-Id: 1\x00\xff" + strings.Repeat("é", maxReason), Field: "a\nb", Data: []byte("x")}
	if err := l.DeadLetters().Publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	s, err := l.js.Stream(t.Context(), DeadLetterStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), d.Subject())
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadDeadLetter(m.Subject, m.Header, m.Data)
	if err != nil || !strings.HasPrefix(got.Reason, "bad  Nats-Msg-Id: 1 \uFFFDéé") || len(got.Reason) > maxReason || got.Field != "a b" || len(m.Header) != 3 { // and the one that takes no second dead letter
		t.Errorf("%q %q, %v, headers %d", got.Reason, got.Field, err, len(m.Header))
	}
}

// lastLetter reads the dead letter that a subject has.
func lastDeadLetter(t *testing.T, l *Log, subject string) DeadLetter {
	t.Helper()
	s, err := l.js.Stream(t.Context(), DeadLetterStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), subject)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ReadDeadLetter(m.Subject, m.Header, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// garbage is so many bytes of an event whose dead letter says as much as one can.
func garbage(size int) DeadLetter {
	long := strings.Repeat("é", 64<<10)
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % 251)
	}
	return DeadLetter{
		Partition: maxPartitions - 1, Sequence: math.MaxUint64, Index: MaxFrameEvents,
		Reason: long, Field: long, Origin: long, ContentType: long, Data: data,
	}
}

// A dead letter is never larger than the server takes: it carries the bytes that fit,
// and says how many there were and where they are.
func TestDeadLetterIsCutToWhatFits(t *testing.T) {
	t.Parallel()
	const limit = 16 << 10
	l, err := OpenLog(t.Context(), connect(t, natstest.Start(t, func(o *server.Options) { o.MaxPayload = limit })), LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{0, limit - 5000, limit - 4500, limit - 4000, limit - 300, limit - 200, limit - 100, limit - 1, limit} {
		for _, d := range []DeadLetter{garbage(size), {Sequence: 50, Reason: "short", Data: garbage(size).Data}} {
			d.Sequence -= uint64(i) // a subject takes one dead letter
			if err := l.DeadLetters().Publish(t.Context(), d); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			got := lastDeadLetter(t, l, d.Subject())
			if got.Size != size || got.Truncated != (len(got.Data) < size) || !bytes.HasPrefix(d.Data, got.Data) {
				t.Errorf("%d bytes: dead letter has %d, says truncated %t, size %d", size, len(got.Data), got.Truncated, got.Size)
			}
			sent := func(most int) *nats.Msg {
				m := d.message(most)
				m.Header[headerLast] = []string{"0"}
				return m
			}
			if got.Truncated != (payload(sent(math.MaxInt)) > limit) {
				t.Errorf("%d bytes: truncated %t", size, got.Truncated)
			}
			if m := sent(limit); got.Truncated && payload(m) != limit || payload(m) > limit {
				t.Errorf("%d bytes: %d bytes of %d are used", size, payload(m), limit)
			} else if whole := fmt.Sprintf("stream HOLD_EVENTS, sequence %d, partition %d, index %d", d.Sequence, d.Partition, d.Index); got.Truncated && m.Header.Get(headerWhole) != whole {
				t.Errorf("the whole is in %q, want %q", m.Header.Get(headerWhole), whole)
			}
		}
	}
}

// An operator may limit the stream of dead letters.
func TestDeadLetterInAStreamOfSmallMessages(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	cfg := deadLetterConfig(LogConfig{Replicas: 1})
	cfg.MaxMsgSize = minDeadLetter
	if _, err := l.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	d := garbage(100_000)
	if err := l.DeadLetters().Publish(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := lastDeadLetter(t, l, d.Subject()); !got.Truncated || got.Size != 100_000 || !strings.HasPrefix(got.Reason, "éé") {
		t.Errorf("dead letter %+v", got)
	}
	cfg.MaxMsgSize = 10 // no dead letter fits
	if _, err := l.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	d.Sequence-- // a subject takes one dead letter
	if err := l.DeadLetters().Publish(t.Context(), d); err == nil || !tooLarge(err) {
		t.Errorf("error %v", err)
	}
}

func TestReadDeadLetterRefuses(t *testing.T) {
	t.Parallel()
	for _, subject := range []string{"", "hold.dlq.1.2", "hold.dlq.1.2.3.4", "hold.log.1.2.3", "hold.dlq.a.2.3", "hold.dlq.-1.2.3", "hold.dlq.1.2.99999999999"} {
		if _, err := ReadDeadLetter(subject, nats.Header{}, nil); !errors.Is(err, ErrDeadLetter) {
			t.Errorf("%q: %v", subject, err)
		}
	}
	for _, size := range []string{"many", "-1", "2"} {
		if _, err := ReadDeadLetter("hold.dlq.1.2.3", nats.Header{headerSize: {size}}, []byte("abc")); !errors.Is(err, ErrDeadLetter) {
			t.Errorf("size %q of 3 bytes: %v", size, err)
		}
	}
}
