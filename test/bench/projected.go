package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/bench/internal/load"
)

// projected returns when the snapshots and the store of a running server have
// all that its log holds now, as clients see it: the bucket's positions, and a
// read of each partition that asks for that position (which has the worker flush
// at once). It gives the time when that was so.
func projected(ctx context.Context, at load.Addresses) (time.Time, error) {
	conn, js, err := load.DialNATS(at.NATS)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close()
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		return time.Time{}, err
	}
	server, err := grpc.NewClient(at.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return time.Time{}, err
	}
	defer server.Close()
	bucket, err := js.Stream(ctx, "KV_"+projection.BucketName("1"))
	if err != nil {
		return time.Time{}, err
	}
	ends, err := endsOf(ctx, log)
	if err != nil {
		return time.Time{}, err
	}
	errs := make([]error, 2*len(ends))
	var waiting sync.WaitGroup
	for p, end := range ends {
		if end == 0 {
			continue
		}
		// Side by side: the read is what asks for the flush.
		waiting.Go(func() { errs[2*p] = awaitSnapshots(ctx, bucket, p, end) })
		waiting.Go(func() { errs[2*p+1] = awaitStore(ctx, server, p, len(ends), end) })
	}
	waiting.Wait()
	return time.Now(), errors.Join(errs...)
}

func endsOf(ctx context.Context, log *ingest.Log) (ends []uint64, err error) {
	ends = make([]uint64, log.Partitions())
	for p := range ends {
		if ends[p], err = log.End(ctx, p); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// logEnds are the last positions of the partitions.
func logEnds(ctx context.Context, at load.Addresses) ([]uint64, error) {
	conn, js, err := load.DialNATS(at.NATS)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		return nil, err
	}
	return endsOf(ctx, log)
}

func awaitSnapshots(ctx context.Context, bucket jetstream.Stream, partition int, end uint64) error {
	subject := fmt.Sprintf("$KV.%s._pos.%d", projection.BucketName("1"), partition)
	for {
		message, err := bucket.GetLastMsgForSubject(ctx, subject)
		if err == nil {
			position, _, _ := strings.Cut(string(message.Data), " ") // the log's time is behind it
			if at, err := strconv.ParseUint(position, 10, 64); err != nil || at >= end {
				return err
			}
		} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return err
		}
		if !load.Pause(ctx, 5*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// awaitStore reads some holder of the partition, until the read is not stale.
func awaitStore(ctx context.Context, conn *grpc.ClientConn, partition, partitions int, end uint64) error {
	holder := ""
	for i := 0; holder == ""; i++ {
		if h := load.HolderName(i); ingest.Partition(h, partitions) == partition {
			holder = h
		}
	}
	for {
		rows, err := holdpb.NewHoldMetricsQueryClient(conn).Scores(ctx, &holdpb.ScoresRequest{HolderId: holder, After: end})
		if err == nil {
			if _, err = rows.Recv(); errors.Is(err, io.EOF) {
				return nil // the partition has other holders
			}
		}
		switch status.Code(err) {
		case codes.OK:
			return nil
		case codes.Unavailable, codes.DeadlineExceeded, codes.FailedPrecondition, codes.Aborted: // stale: ask again
			if !load.Pause(ctx, 5*time.Millisecond) {
				return context.Cause(ctx)
			}
		default:
			return err
		}
	}
}
