// Command bench measures how fast a follower copies a log to immudb, beside immudb's own
// client that writes and verifies the same keys. The two take turns, each time with a new
// server, and the median of each counts. It prints both as JSON, and the seconds of the
// processor that a round of each has taken, server and client together.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"
	immuclient "github.com/codenotary/immudb/pkg/client"
	"github.com/codenotary/immudb/pkg/logger"
	"github.com/codenotary/immudb/pkg/server"

	"holdmetrics/audit/immu"
	"holdmetrics/audit/ledger"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

const (
	frames = 400
	events = 100 // of a frame
	user   = "immudb"
)

var rounds = flag.Int("rounds", 5, "how often each of the two is measured")

func main() {
	flag.Parse()
	result, err := measure(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		os.Exit(1)
	}
}

// rates are in keys a second, and CPU in seconds.
type rates struct{ Follow, Peer, FollowCPU, PeerCPU float64 }

func measure(ctx context.Context) (r rates, err error) {
	dir, err := os.MkdirTemp("", "holdmetrics-audit-bench")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	log := newMemoryLog()
	pairs := []immu.Pair{}
	leaf := ""
	for m := range log.Read(ctx, ingest.Range{}) {
		p, next, err := ledger.Message(log, m, leaf)
		if err != nil {
			return r, err
		}
		pairs, leaf = append(pairs, p...), next
	}
	var follows, peers, followCPU, peerCPU []float64
	for i := range *rounds {
		at := filepath.Join(dir, strconv.Itoa(i))
		for _, one := range []func() error{
			func() error {
				return timed(&follows, &followCPU, func() (float64, error) { return follow(ctx, at+"follow", log, len(pairs)) })
			},
			func() error {
				return timed(&peers, &peerCPU, func() (float64, error) { return peer(ctx, at+"peer", pairs) })
			},
		} {
			if err := one(); err != nil {
				return r, err
			}
		}
	}
	return rates{median(follows), median(peers), median(followCPU), median(peerCPU)}, nil
}

// timed adds a rate, and what it took of the processor.
func timed(perSecond, cpu *[]float64, f func() (float64, error)) error {
	before := processor()
	rate, err := f()
	*perSecond, *cpu = append(*perSecond, rate), append(*cpu, processor()-before)
	return err
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// start runs a server on a free port.
func start(dir string) (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	options := server.DefaultOptions().WithDir(dir).WithListener(listener).WithAdminPassword(user).
		WithMetricsServer(false).WithWebServer(false).WithPgsqlServer(false)
	s := server.DefaultServer().WithOptions(options).WithLogger(logger.NewMemoryLoggerWithLevel(logger.LogError)).(*server.ImmuServer)
	if err := s.Initialize(); err != nil {
		return "", nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.GrpcServer.Serve(listener) }()
	return listener.Addr().String(), func() {
		s.GrpcServer.Stop()
		<-ended
		_ = s.CloseDatabases()
	}, nil
}

func follow(ctx context.Context, dir string, log *memoryLog, keys int) (float64, error) {
	address, stop, err := start(dir)
	if err != nil {
		return 0, err
	}
	defer stop()
	client, err := immu.Open(ctx, immu.Config{Address: address, User: user, Password: user, StateFile: dir + ".state"})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	began := time.Now()
	err = ledger.NewFollower(ledger.Config{Log: log, Copy: client, Rules: hold.PlainRules(hold.Merge)}).CatchUp(ctx)
	return float64(keys) / time.Since(began).Seconds(), err
}

// peer writes the keys with immudb's own client, which has no verified write of several
// keys: it writes, and verifies the transaction.
func peer(ctx context.Context, dir string, pairs []immu.Pair) (float64, error) {
	address, stop, err := start(dir)
	if err != nil {
		return 0, err
	}
	defer stop()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return 0, err
	}
	c := immuclient.NewClient().WithOptions(immuclient.DefaultOptions().WithAddress(host).WithPort(number).WithDir(filepath.Dir(dir)))
	if err := c.OpenSession(ctx, []byte(user), []byte(user), immu.DefaultDatabase); err != nil {
		return 0, err
	}
	defer c.CloseSession(ctx) //nolint:errcheck // the measurement is over
	began := time.Now()
	for rest := pairs; len(rest) > 0; {
		n := min(len(rest), immu.MaxKeys)
		req := &schema.SetRequest{NoWait: true}
		for i := range rest[:n] {
			req.KVs = append(req.KVs, &schema.KeyValue{Key: rest[i].Key, Value: rest[i].Value})
		}
		header, err := c.SetAll(ctx, req)
		if err != nil {
			return 0, err
		}
		if _, err := c.VerifiedTxByID(ctx, header.Id); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return float64(len(pairs)) / time.Since(began).Seconds(), nil
}

// memoryLog is a log in memory.
type memoryLog struct{ messages []*ingest.Message }

func newMemoryLog() *memoryLog {
	l := &memoryLog{}
	for n := range frames {
		holder := fmt.Sprintf("holder-%d", n%97)
		var w ingest.FrameWriter
		for i := range events {
			w.AppendDraft(&hold.Draft{Token: fmt.Sprintf("token-%d", i%7), Holder: holder, WeightExact: "2.5",
				Start: hold.Stamp{Set: true, Seconds: int64(1 + n*events + i)}, End: hold.Stamp{Set: true, Seconds: int64(5000 + n*events + i)}})
		}
		l.messages = append(l.messages, &ingest.Message{Position: uint64(n + 1), Partition: ingest.Partition(holder, l.Partitions()),
			Time: 1_700_000_000e9 + int64(n), Data: append([]byte(nil), w.Bytes()...)})
	}
	return l
}

func (l *memoryLog) ID() string                                        { return "bench" }
func (l *memoryLog) Partitions() int                                   { return ingest.DefaultPartitions }
func (l *memoryLog) LimitsAt(uint64) hold.Limits                       { return hold.DefaultLimits() }
func (l *memoryLog) IsLost(uint64) bool                                { return false }
func (l *memoryLog) KnowsHorizon(context.Context, int64) (bool, error) { return false, nil }
func (l *memoryLog) LastPosition(context.Context) (uint64, error) {
	return uint64(len(l.messages)), nil
}

func (l *memoryLog) Read(_ context.Context, r ingest.Range) iter.Seq2[*ingest.Message, error] {
	return func(yield func(*ingest.Message, error) bool) {
		for _, m := range l.messages {
			if m.Position >= r.From && (r.To == 0 || m.Position <= r.To) && !yield(m, nil) {
				return
			}
		}
	}
}
