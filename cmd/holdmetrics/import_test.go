package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	holdpb "holdmetrics/proto"
)

// takesAll is a server that acknowledges every event.
type takesAll struct {
	holdpb.UnimplementedHoldMetricsServer
	before func() // is called with each batch
}

func (s *takesAll) BroadcastBatch(stream grpc.BidiStreamingServer[holdpb.HoldBatch, holdpb.HoldBatchAck]) error {
	for {
		batch, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.before()
		if err := stream.Send(&holdpb.HoldBatchAck{Accepted: uint64(len(batch.GetEvents()))}); err != nil {
			return err
		}
	}
}

// TestClosingThatFailsSaysWhatWasAcknowledged takes away the directory of the
// closing balances after it was checked.
func TestClosingThatFailsSaysWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "balances")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	address := serveGRPC(t, func(server *grpc.Server) {
		holdpb.RegisterHoldMetricsServer(server, &takesAll{before: func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}})
	})

	file := filepath.Join(t.TempDir(), "t.csv")
	const text = "token_address,from_address,to_address,value,block_timestamp\nT,0x00,a,5,10\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errText bytes.Buffer
	code := run(t.Context(), []string{"import", "transfers", file, "--server", address, "--closing", filepath.Join(dir, "c.csv")},
		streams{in: strings.NewReader(""), out: &out, err: &errText})
	if code != exitFailed || !strings.Contains(errText.String(), "the closing balances were not written: ") ||
		!strings.Contains(errText.String(), "; 1 event was acknowledged; running this again changes nothing") {
		t.Errorf("code %d: %s", code, errText.String())
	}
}
