package crash

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/natstest"
	holdpb "holdmetrics/proto"
)

// stalls records events by NATS over a network that stalls, is cut, loses answers and
// delivers twice.
func (d *day) stalls() (err error) {
	faults := faultynats.Mild(d.seed)
	if d.rand.IntN(2) == 0 {
		faults = faultynats.Hard(d.seed)
	}
	network, err := faultynats.StartDialing(func() (net.Conn, error) { return net.Dial("tcp", d.srv.nats) }, faults)
	if err != nil {
		return err
	}
	defer network.Close()
	conn, err := nats.Connect(network.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.Timeout(dayCall), natstest.Operator(d.data))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), dayStart)
	defer cancel()
	log, err := openFaultyLog(ctx, js)
	if err != nil {
		return err
	}
	producer := ingest.NewProducer(log, ingest.ProducerOptions{AttemptTimeout: time.Second})
	defer func() {
		if closed := producer.Close(ctx); err == nil {
			err = closed
		}
	}()
	disturbed, rounds := make(chan struct{}), d.between(1, 5)
	go func() {
		defer close(disturbed)
		for range rounds {
			time.Sleep(100 * time.Millisecond)
			network.Stall()
			time.Sleep(200 * time.Millisecond)
			network.Resume()
			network.Cut()
		}
	}()
	defer func() { <-disturbed }()
	others := newCrowd("b", d.seed, 3)
	for range 10 {
		batch := others.batch(dayBatch)
		if err := recordAll(ctx, producer, batch); err != nil {
			return err
		}
		d.load.set(func() { d.load.acked = append(d.load.acked, batch...) })
	}
	return nil
}

// openFaultyLog opens the log over a network that loses answers.
func openFaultyLog(ctx context.Context, js jetstream.JetStream) (log *ingest.Log, err error) {
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, 2*time.Second)
		log, err = ingest.OpenLog(within, js, ingest.LogConfig{})
		cancel()
		if err == nil {
			return log, nil
		}
	}
	return nil, err
}

// recordAll records events until each is acknowledged. One that is sent again counts once.
func recordAll(ctx context.Context, p *ingest.Producer, batch []*holdpb.HoldMsg) error {
	drafts := make([]hold.Draft, len(batch))
	for i, m := range batch {
		drafts[i] = ingest.DraftOf(m)
	}
	var last error
	for ctx.Err() == nil {
		result, err := p.RecordBatch(ctx, drafts)
		if err == nil && result.Accepted == len(drafts) {
			return nil
		}
		if last = err; err == nil {
			last = fmt.Errorf("refused: %v", result.Refused[0].Err)
		}
	}
	return fmt.Errorf("not acknowledged: %w", last)
}
