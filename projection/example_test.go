package projection_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// ExampleView follows the snapshots of all holders, as a program does that shows
// scores and has them change before its eyes.
func ExampleView() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	js, stop := exampleServer()
	defer stop()

	// The bucket of a generation. A running deployment has one, and a processor that
	// writes it; here the example does.
	bucket, err := projection.OpenSnapshots(ctx, js, projection.SnapshotConfig{Generation: "1"})
	check(err)
	defer bucket.Close()
	score, err := hold.ParseScore("3600")
	check(err)
	rate, err := hold.ParseRate("2")
	check(err)
	record := projection.HolderRecord{Holder: "alice", Position: 7, Figures: hold.Figures{
		Settled: hold.Amount{Score: score},
		Line:    hold.Line{Base: hold.Amount{Score: score}, Rate: rate, Since: 1_600_000_000e9},
	}}
	value, err := projection.EncodeSnapshot(&record, hold.NoRulesVersion, "1")
	check(err)
	check(bucket.Publish(ctx, 0, []projection.Entry{{Key: "alice", Value: value}}, projection.Reached{Position: 7}))

	view, err := bucket.Watch(ctx)
	check(err)
	defer view.Close()
	// Read your write: position 7 of partition 0 is what the producer was given.
	check(view.WaitPosition(ctx, 0, 7))

	var after uint64
	changes, after := view.Changes(after, 100)
	for _, c := range changes {
		s, err := projection.ReadSnapshot(c.Value)
		check(err)
		live, _ := s.At(1_600_000_060e9)
		fmt.Printf("%s has settled %s, and %s a minute later\n", s.Holder, s.Settled.Score, live.Score)
	}

	// Wait for the next change. Changed comes before Changes, so that none is missed.
	changed := view.Changed()
	record.Position, record.Figures.Line.Rate = 8, hold.Rate{}
	value, err = projection.EncodeSnapshot(&record, hold.NoRulesVersion, "1")
	check(err)
	check(bucket.Publish(ctx, 0, []projection.Entry{{Key: "alice", Value: value}}, projection.Reached{Position: 8}))
	select {
	case <-changed:
	case <-ctx.Done():
		log.Fatal(ctx.Err())
	}
	changes, _ = view.Changes(after, 100)
	fmt.Println(len(changes), "change, of position", projection.SnapshotPosition(changes[0].Value))

	// Output:
	// alice has settled 3600, and 3720 a minute later
	// 1 change, of position 8
}

// exampleServer is a NATS server within this process, in a directory that goes away.
func exampleServer() (jetstream.JetStream, func()) {
	dir, err := os.MkdirTemp("", "projection")
	check(err)
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true, NoLog: true})
	check(err)
	s.Start()
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	check(err)
	js, err := jetstream.New(nc)
	check(err)
	return js, func() {
		nc.Close()
		<-closed
		s.Shutdown()
		s.WaitForShutdown()
		_ = os.RemoveAll(dir)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
