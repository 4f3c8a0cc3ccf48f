package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// Example records a hold in a log of its own, and reads it back.
func Example() {
	ctx := context.Background()

	// A NATS server within this process, in a directory that goes away.
	dir, err := os.MkdirTemp("", "ingest")
	check(err)
	defer os.RemoveAll(dir)
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true})
	check(err)
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	check(err)

	events, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	check(err)
	producer := ingest.NewProducer(events, ingest.ProducerOptions{})
	defer producer.Close(ctx)

	position, err := producer.Record(ctx, &hold.Draft{
		Token:       "gold",
		Holder:      "alice",
		Start:       hold.Stamp{Seconds: 1_600_000_000, Set: true},
		WeightExact: "12.5",
	})
	check(err)
	fmt.Println("in the log at", position)

	_, err = producer.Record(ctx, &hold.Draft{Token: "gold", Start: hold.Stamp{Seconds: 1, Set: true}})
	if bad := (*hold.FieldError)(nil); errors.As(err, &bad) {
		fmt.Println("refused:", bad)
	}

	stream, err := js.Stream(ctx, ingest.StreamName)
	check(err)
	message, err := stream.GetMsg(ctx, position)
	check(err)
	frame := ingest.ReadFrame(message.Data)
	for b, ok := frame.Next(); ok; b, ok = frame.Next() {
		var d hold.Draft
		check(ingest.DecodeEvent(b, &d))
		fmt.Println(message.Subject, d.Holder, "holds", d.WeightExact, d.Token)
	}
	check(frame.Err())
	// Output:
	// in the log at 1
	// refused: holder_id is required
	// hold.log.7 alice holds 12.5 gold
}

// ExampleProducer_RecordBatch sends many events at once. The bad one is refused
// by itself.
func ExampleProducer_RecordBatch() {
	ctx := context.Background()
	producer, stop := exampleProducer(ctx)
	defer stop()

	result, err := producer.RecordBatch(ctx, []hold.Draft{
		{Token: "gold", Holder: "alice", Start: hold.Stamp{Seconds: 1_600_000_000, Set: true}},
		{Token: "gold", Holder: "bob"},
		{Token: "gold", Holder: "carol", Start: hold.Stamp{Seconds: 1_600_000_000, Set: true}, Weight: 2, WeightGiven: true},
	})
	check(err)
	fmt.Println(result.Accepted, "accepted")
	for _, refusal := range result.Refused {
		switch bad := (*hold.FieldError)(nil); {
		case errors.As(refusal.Err, &bad):
			fmt.Println("event", refusal.Index, "has a bad", bad.Field)
		case errors.Is(refusal.Err, ingest.ErrBusy):
			fmt.Println("event", refusal.Index, "is to be sent again later")
		default:
			fmt.Println("event", refusal.Index, "may be in the log; sending it again is harmless:", refusal.Err)
		}
	}
	// Output:
	// 2 accepted
	// event 1 has a bad start
}

// ExampleProducer_Send sends without waiting for the log. Send itself waits only
// while too many events are under way, which slows this loop to the log's pace.
func ExampleProducer_Send() {
	ctx := context.Background()
	producer, stop := exampleProducer(ctx)
	defer stop()

	var accepted atomic.Int64
	for i := range int64(10_000) {
		draft := hold.Draft{Token: "gold", Holder: fmt.Sprint("holder-", i), Start: hold.Stamp{Seconds: 1_600_000_000 + i, Set: true}}
		err := producer.Send(ctx, &draft, func(position uint64, err error) {
			if err == nil { // otherwise: note the event and send it again
				accepted.Add(1)
			}
		})
		check(err)
	}
	check(producer.Close(ctx)) // returns when every callback has run
	fmt.Println(accepted.Load(), "accepted")
	// Output: 10000 accepted
}

// exampleProducer is the beginning of Example, for the others.
func exampleProducer(ctx context.Context) (producer *ingest.Producer, stop func()) {
	dir, err := os.MkdirTemp("", "ingest")
	check(err)
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true})
	check(err)
	s.Start()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	check(err)
	js, err := jetstream.New(nc)
	check(err)
	events, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	check(err)
	producer = ingest.NewProducer(events, ingest.ProducerOptions{})
	return producer, func() {
		check(producer.Close(ctx))
		nc.Close()
		s.Shutdown()
		s.WaitForShutdown()
		os.RemoveAll(dir)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
