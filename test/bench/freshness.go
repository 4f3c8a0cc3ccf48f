package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/bench/internal/load"
)

const (
	probeEvery   = 10 * time.Millisecond // of each kind
	probeHolders = 4
	// unseenAfter is how long the last probes may take to be seen.
	unseenAfter = 5 * time.Second
	peerBucket  = "BENCH_PEER"
	// peerPuts is before the keys of puts, which the stream of the bucket turns into the
	// bucket's own subjects: to those an operator may not publish.
	peerPuts = "hold.bench."
)

// measureFreshness runs load, probes and peer together.
func measureFreshness(ctx context.Context, in *freshnessInput) (out freshnessOutput, err error) {
	conn, js, err := load.DialNATS(in.At.NATS)
	if err != nil {
		return out, err
	}
	defer conn.Close()
	server, err := load.DialRaw(in.At)
	if err != nil {
		return out, err
	}
	defer server.Close()
	watched, err := load.DialRaw(in.At) // who watches is not who sends
	if err != nil {
		return out, err
	}
	defer watched.Close()
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	probes, err := newProbes(running, server, watched)
	if err != nil {
		return out, err
	}
	peer, err := newPeer(ctx, js)
	if err != nil {
		return out, err
	}
	var work sync.WaitGroup
	start := func(f func(context.Context) error) {
		work.Go(func() {
			if err := f(running); err != nil && running.Err() == nil {
				cancel(err)
			}
		})
	}
	start(probes.watch)
	start(peer.watch)
	loading, stopLoad := context.WithCancel(running)
	defer stopLoad()
	var acked atomic.Int64
	start(func(context.Context) error { return paced(loading, server, in, &acked) })
	if load.Pause(running, in.Window.Warm) {
		before, began := acked.Load(), time.Now()
		ticks := time.NewTicker(probeEvery)
		defer ticks.Stop()
		for began.Add(in.Window.Count).After(time.Now()) && running.Err() == nil {
			<-ticks.C
			start(probes.send)
			start(peer.send)
		}
		out.Rate = float64(acked.Load()-before) / time.Since(began).Seconds()
	}
	// The load goes on until the probes are seen, or are given up.
	for until := time.Now().Add(unseenAfter); time.Now().Before(until) && !(probes.seen() && peer.seen()) && load.Pause(running, probeEvery); {
	}
	stopLoad()
	cancel(load.ErrMeasured)
	work.Wait()
	if err := context.Cause(running); !errors.Is(err, load.ErrMeasured) {
		return out, err
	}
	return results(out, probes, peer), nil
}

func results(out freshnessOutput, probes *probes, peer *peer) freshnessOutput {
	out.Probes, out.Unseen, out.PeerProbes = len(probes.took), len(probes.waiting), len(peer.took)
	for range probes.waiting { // as long as was waited, at least
		probes.took = append(probes.took, unseenAfter)
	}
	for range len(peer.sent) - len(peer.took) {
		peer.took = append(peer.took, unseenAfter)
	}
	out.P50, out.P99 = percentile(probes.took, 0.50), percentile(probes.took, 0.99)
	out.PeerP50, out.PeerP99 = percentile(peer.took, 0.50), percentile(peer.took, 0.99)
	return out
}

// percentile is in ms.
func percentile(took []time.Duration, q float64) float64 {
	if len(took) == 0 {
		return math.Inf(1)
	}
	slices.Sort(took)
	i := min(len(took)-1, int(math.Ceil(q*float64(len(took))))-1)
	return float64(took[max(i, 0)]) / float64(time.Millisecond)
}

// paced sends events at the given rate, a hundred batches a second.
func paced(ctx context.Context, conn *grpc.ClientConn, in *freshnessInput, acked *atomic.Int64) error {
	batches := load.NewBatches(load.NewSource(0, 1, in.Holders))
	ticks := time.NewTicker(probeEvery)
	defer ticks.Stop()
	began, sent := time.Now(), 0
	return load.Stream(ctx, conn, load.BatchMethod, func(buf []byte) []byte {
		for {
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return nil
			}
			// What a late tick left out is sent with the next.
			n := int(time.Since(began).Seconds()*float64(in.Rate)) - sent
			if n = min(n, 16<<10); n > 0 {
				sent += n
				return batches.Append(buf, n)
			}
		}
	}, func(message []byte) error { return load.CountBatch(message, acked) })
}

// probes are events whose way into a snapshot is timed.
type probes struct {
	conn  *grpc.ClientConn
	stats grpc.ClientStream // a watch of their holders
	next  atomic.Int64

	mu       sync.Mutex
	last     [probeHolders]sighting
	waiting  map[*probe]struct{} // acknowledged, not seen
	inFlight int                 // not acknowledged
	took     []time.Duration
}

type probe struct {
	holder   int
	position uint64
	acked    time.Time
}

// sighting is a snapshot that came: it has everything up to a position.
type sighting struct{ position uint64 }

// newProbes begins the watch, and returns when that has its mark: from here on
// it is notified of every change.
func newProbes(ctx context.Context, conn, watched *grpc.ClientConn) (*probes, error) {
	p := &probes{conn: conn, waiting: map[*probe]struct{}{}}
	request := &holdpb.StatsRequest{Watch: true}
	for k := range probeHolders {
		request.HolderIds = append(request.HolderIds, probeHolder(k))
	}
	var err error
	p.stats, err = beginWatch(ctx, watched, request)
	return p, err
}

func probeHolder(k int) string { return "probe-" + strconv.Itoa(k) }

func (p *probes) send(ctx context.Context) error {
	n := p.next.Add(1)
	k := int(n % probeHolders)
	start := load.EventBase + n*load.EventStep
	request := ingest.AppendEvent(nil, &hold.Draft{Token: "probe", Holder: probeHolder(k), Weight: 1,
		Start: hold.Stamp{Seconds: start, Set: true}, End: hold.Stamp{Seconds: start + 1, Set: true}})
	p.mu.Lock()
	p.inFlight++
	p.mu.Unlock()
	var response []byte
	err := p.conn.Invoke(ctx, load.RecordMethod, &request, &response)
	now := time.Now()
	var ack holdpb.HoldAck
	if err == nil {
		err = proto.Unmarshal(response, &ack)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	switch {
	case err != nil:
		return err
	case p.last[k].position >= ack.GetPosition():
		p.took = append(p.took, 0)
	default:
		p.waiting[&probe{k, ack.GetPosition(), now}] = struct{}{}
	}
	return nil
}

func (p *probes) seen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting) == 0 && p.inFlight == 0
}

// watch takes sightings until its stream ends.
func (p *probes) watch(context.Context) error {
	for {
		var message []byte
		if err := p.stats.RecvMsg(&message); err != nil {
			return err
		}
		now := time.Now()
		var stat holdpb.HoldStat
		if err := proto.Unmarshal(message, &stat); err != nil {
			return err
		}
		p.sight(&stat, now)
	}
}

func (p *probes) sight(stat *holdpb.HoldStat, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.last {
		if stat.GetHolderId() == probeHolder(k) {
			p.last[k] = sighting{stat.GetPosition()}
		}
	}
	for w := range p.waiting {
		if stat.GetHolderId() == probeHolder(w.holder) && w.position <= stat.GetPosition() {
			p.took = append(p.took, now.Sub(w.acked))
			delete(p.waiting, w)
		}
	}
}

// peer is a bucket with one key that is put and watched.
type peer struct {
	js      jetstream.JetStream
	watcher jetstream.KeyWatcher

	mu   sync.Mutex
	sent []time.Time // by number
	took []time.Duration
}

func newPeer(ctx context.Context, js jetstream.JetStream) (*peer, error) {
	// As projection makes its own bucket in serve.
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "KV_" + peerBucket, Subjects: []string{peerPuts + ">"}, MaxMsgsPerSubject: 1,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: peerPuts + ">", Destination: "$KV." + peerBucket + ".>"},
		Discard:          jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, AllowDirect: true,
		PersistMode: jetstream.AsyncPersistMode,
	})
	if err != nil {
		return nil, err
	}
	bucket, err := js.KeyValue(ctx, peerBucket)
	if err != nil {
		return nil, err
	}
	w, err := bucket.Watch(ctx, "key", jetstream.UpdatesOnly())
	return &peer{js: js, watcher: w}, err
}

func (p *peer) send(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	value := make([]byte, 200) // about a snapshot
	copy(value, strconv.Itoa(len(p.sent)))
	p.sent = append(p.sent, time.Now())
	_, err := p.js.PublishMsgAsync(&nats.Msg{Subject: peerPuts + "key", Data: value})
	return err
}

func (p *peer) seen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.took) == len(p.sent)
}

func (p *peer) watch(ctx context.Context) error {
	defer p.watcher.Stop() //nolint:errcheck // the connection ends next
	for {
		select {
		case e := <-p.watcher.Updates():
			if e == nil {
				continue
			}
			now := time.Now()
			digits, _, _ := strings.Cut(string(e.Value()), "\x00")
			n, err := strconv.Atoi(digits)
			if err != nil {
				return err
			}
			p.mu.Lock()
			// The bucket keeps the last value of a key, so one may never be delivered.
			for i := len(p.took); i <= n; i++ {
				p.took = append(p.took, now.Sub(p.sent[i]))
			}
			p.mu.Unlock()
		case <-ctx.Done():
			return nil
		}
	}
}
