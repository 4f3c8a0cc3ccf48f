package faultynats_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// start starts a server, a broker before it and a client of that.
func start(t *testing.T, f faultynats.Faults, options ...nats.Option) (*faultynats.Broker, jetstream.JetStream) {
	t.Helper()
	b := natstest.Before(t, natstest.Start(t), f)
	return b, natstest.JetStreamAt(t, b.URL(), options...)
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// fill publishes messages and returns a consumer of them.
func fill(t *testing.T, js jetstream.JetStream, n int) jetstream.Consumer {
	t.Helper()
	ctx := within(t, 20*time.Second)
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.Publish(ctx, fmt.Sprint("s.", i), make([]byte, i*100)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read reads what comes of n messages, until that was said to be all or nothing comes.
func read(t *testing.T, c jetstream.Consumer, n int, wait time.Duration) (sequences, pending []uint64) {
	t.Helper()
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(wait))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		if want := int(meta.Sequence.Stream-1) * 100; len(m.Data()) != want {
			t.Errorf("message %d has %d bytes, want %d", meta.Sequence.Stream, len(m.Data()), want)
		}
		sequences, pending = append(sequences, meta.Sequence.Stream), append(pending, meta.NumPending)
	}
	return sequences, pending
}

func TestHonestWithoutFaults(t *testing.T) {
	t.Parallel()
	b, js := start(t, faultynats.Faults{Seed: 1})
	sequences, pending := read(t, fill(t, js, 50), 50, 10*time.Second)
	for i := range sequences {
		if sequences[i] != uint64(i+1) || pending[i] != uint64(49-i) {
			t.Fatalf("message %d has sequence %d with %d pending", i+1, sequences[i], pending[i])
		}
	}
	if c := b.Counts(); len(sequences) != 50 || c != (faultynats.Counts{}) {
		t.Errorf("%d messages came with %+v", len(sequences), c)
	}
}

func TestPendingIsWrong(t *testing.T) {
	t.Parallel()
	b, js := start(t, faultynats.Faults{Seed: 1, PendingHigh: 1})
	_, pending := read(t, fill(t, js, 10), 10, 10*time.Second)
	for i, n := range pending {
		if n <= uint64(9-i) {
			t.Errorf("message %d says that %d are pending", i+1, n)
		}
	}
	b.Set(faultynats.Faults{Seed: 1, PendingLow: 1})
	c, err := js.CreateConsumer(within(t, 10*time.Second), "S", jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	if err != nil {
		t.Fatal(err)
	}
	_, low := read(t, c, 10, 10*time.Second)
	for i, n := range low {
		if n != 0 {
			t.Errorf("message %d says that %d are pending, want 0", i+1, n)
		}
	}
	if n := b.Counts().Pending; len(pending) != 10 || len(low) != 10 || n != 20 {
		t.Errorf("%d and %d messages, %d wrong counts", len(pending), len(low), n)
	}
}

func TestTwiceLostAndLate(t *testing.T) {
	t.Parallel()
	b, js := start(t, faultynats.Faults{Seed: 7, Twice: 0.2, Lost: 0.2, Late: 0.2, MaxDelay: time.Millisecond})
	const n = 200
	c := fill(t, js, n)
	seen := map[uint64]int64{}
	last := uint64(0)
	sequences, _ := read(t, c, n+100, time.Second)
	for _, s := range sequences {
		if s < last {
			t.Errorf("%d came after %d", s, last)
		}
		last = s
		seen[s]++
	}
	counts := b.Counts()
	if counts.Twice < 10 || counts.Lost < 10 || counts.Late < 10 {
		t.Errorf("too few faults: %+v", counts)
	}
	twice := int64(0)
	for _, times := range seen {
		if times == 2 {
			twice++
		}
	}
	if lost := int64(n - len(seen)); lost != counts.Lost || twice != counts.Twice {
		t.Errorf("%d lost and %d twice, counted were %+v", lost, twice, counts)
	}
}

func TestTheSameSeedDoesTheSame(t *testing.T) {
	t.Parallel()
	var came [2][]uint64
	for i := range came {
		_, js := start(t, faultynats.Faults{Seed: 3, Twice: 0.1, Lost: 0.1})
		came[i], _ = read(t, fill(t, js, 100), 150, time.Second)
	}
	if fmt.Sprint(came[0]) != fmt.Sprint(came[1]) || len(came[0]) == 100 {
		t.Errorf("once %v, then %v", came[0], came[1])
	}
}

func TestSilentAndMute(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]faultynats.Faults{"silent": {Silent: 1, Most: 1}, "mute": {Mute: 1, Most: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, js := start(t, f)
			c := fill(t, js, 3)
			failed := make(chan error, 1)
			consume, err := c.Consume(func(m jetstream.Msg) { t.Error("a message came") },
				jetstream.PullHeartbeat(500*time.Millisecond), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
					select {
					case failed <- err:
					default:
					}
				}))
			if err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-failed:
				if name == "mute" || !errors.Is(err, jetstream.ErrNoHeartbeat) {
					t.Errorf("%v", err)
				}
			case <-time.After(2 * time.Second):
				if name == "silent" {
					t.Error("heartbeats came")
				}
			}
			consume.Stop()
			<-consume.Closed()
			if b.Counts().Silent != 1 {
				t.Errorf("%+v", b.Counts())
			}
		})
	}
}

func TestAnswersAreLost(t *testing.T) {
	t.Parallel()
	b, js := start(t, faultynats.Faults{})
	fill(t, js, 1)
	b.Set(faultynats.Faults{LostAcks: 1, LostReplies: 1})
	short := within(t, 100*time.Millisecond)
	if _, err := js.Publish(short, "s.lost", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("publish: %v", err)
	}
	if _, err := js.Stream(short, "S"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stream: %v", err)
	}
	b.Set(faultynats.Faults{})
	stream, err := js.Stream(within(t, 10*time.Second), "S")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 2 || b.Counts().LostAcks != 1 {
		t.Errorf("%d messages are there, want 2; %+v", n, b.Counts())
	}
}

func TestStallAndCut(t *testing.T) {
	t.Parallel()
	b, js := start(t, faultynats.Faults{}, nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0))
	fill(t, js, 1)
	b.Stall()
	if _, err := js.Publish(within(t, 100*time.Millisecond), "s.stalled", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("publish while the connection stands still: %v", err)
	}
	if !js.Conn().IsConnected() {
		t.Error("the connection was closed")
	}
	b.Resume()
	if err := js.Conn().FlushWithContext(within(t, 10*time.Second)); err != nil {
		t.Errorf("after it goes on: %v", err)
	}
	reconnected := js.Conn().StatusChanged(nats.RECONNECTING)
	b.Cut()
	select {
	case <-reconnected:
	case <-t.Context().Done():
	}
	ctx := within(t, 10*time.Second)
	for {
		if _, err := js.Publish(within(t, time.Second), "s.again", nil); err == nil {
			return
		} else if ctx.Err() != nil {
			t.Fatalf("publish after the connection was cut: %v", err)
		}
	}
}
