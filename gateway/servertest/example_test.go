package servertest_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/servertest"
	holdpb "holdmetrics/proto"
)

func at(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }

// Example runs a server, records a hold, and reads its exact score. In a test,
// servertest.Start(t) does the first and the last step.
func Example() {
	dir, err := os.MkdirTemp("", "holdmetrics-")
	check(err)
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := servertest.Open(ctx, dir)
	check(err)
	defer func() { check(s.Close()) }()

	ack, err := s.Metrics().Record(ctx, &holdpb.HoldMsg{
		TokenId: "GOLD", HolderId: "alice", Start: at(100), End: at(110), WeightExact: "2.5",
	})
	check(err)
	fmt.Println("accepted:", ack.GetOk())

	scores, err := s.Query().Scores(ctx, &holdpb.ScoresRequest{HolderId: "alice", AsOf: at(104), After: ack.GetPosition()})
	check(err)
	row, err := scores.Recv()
	check(err)
	fmt.Println(row.GetHolderId(), row.GetScore(), row.GetHeldSeconds())
	// Output:
	// accepted: true
	// alice 10 4
}

// Example_watch watches a holder: first the current snapshots, then a mark that they
// are complete, then every change.
func Example_watch() {
	dir, err := os.MkdirTemp("", "holdmetrics-")
	check(err)
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := servertest.Open(ctx, dir)
	check(err)
	defer func() { check(s.Close()) }()

	watch, err := s.Metrics().Stats(ctx, &holdpb.StatsRequest{Watch: true, HolderIds: []string{"alice"}})
	check(err)
	for sent := 0; sent < 3; {
		stat, err := watch.Recv()
		check(err)
		if !stat.GetComplete() {
			fmt.Println(stat.GetHolderId(), "settled", stat.GetScoreExact())
		}
		// The next hold is sent when the last one was seen. Slow watchers get the
		// latest snapshot of a holder and may miss those between.
		start := int64(100 + 10*sent)
		_, err = s.Metrics().Record(ctx, &holdpb.HoldMsg{TokenId: "GOLD", HolderId: "alice", Start: at(start), End: at(start + 10)})
		check(err)
		sent++
	}
	// Output:
	// alice settled 10
	// alice settled 20
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
