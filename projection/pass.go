package projection

import (
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// watchPass is what one pass of a watch knows. It is touched behind the view's gate,
// but for what is atomic.
//
// # When a position is true of the view
//
// Messages come in the order of their sequences, and the bucket keeps the last one of
// each key. A position is written after the snapshots that it stands for. Those came
// before it, but for snapshots that were superseded before they were delivered: their
// successors may come after the position. A sequence that was superseded is missing.
//
// So where no sequence is missing up to a position, the position is true when it
// comes. Where some are, the pass asks where the bucket ends. The successor of
// whatever was missing when it asked was in the bucket by then. So when the pass has
// come to that end, nothing is missing any more of what came before the question.
//
// The count of pending messages that comes with each message plays no part: the
// server may not have counted a message yet, or may count one that was superseded,
// and a quiet bucket sends no other message to correct it.
type watchPass struct {
	view     *View
	pass     uint32
	mark     uint64        // sequence of the pass's own message
	received atomic.Uint64 // messages
	reached  bool          // the pass's own message, or a later one, has come
	staging  *staging      // what came until then; nil: nobody reads the view yet

	newest  uint64 // sequence of the newest message
	gap     uint64 // of the newest message before which one is missing
	certain uint64 // the view has all that the bucket had at this sequence

	asking bool   // it is being asked where the bucket ends
	asked  uint64 // newest when that was asked last
	end    uint64 // the answer, until the pass has come there; 0: no question is open

	complete bool
	swept    bool // holders that the bucket has no longer are dropped

	uncertain chan struct{} // asks for a check
	missing   chan []string // takes the keys of holders that have not come, once
	broken    chan error    // takes the first error
}

func newWatchPass(v *View, pass uint32, mark uint64) *watchPass {
	p := &watchPass{
		view: v, pass: pass, mark: mark,
		uncertain: make(chan struct{}, 1), missing: make(chan []string, 1), broken: make(chan error, 1),
	}
	if v.isReady() {
		p.staging = &staging{at: map[string]int{}}
	}
	return p
}

// staging is what a pass has seen that differs from the view, in order.
type staging struct {
	at  map[string]int // index in all
	all []stagingEntry
}

type stagingEntry struct {
	key   string
	value []byte
	gone  bool // a mark that the key was removed
	void  bool // replaced, or what the view has
}

func (a *staging) put(e stagingEntry) {
	if i, ok := a.at[e.key]; ok {
		a.all[i] = stagingEntry{void: true}
		delete(a.at, e.key)
	}
	if !e.void {
		e.key = strings.Clone(e.key)
		a.at[e.key] = len(a.all)
		a.all = append(a.all, e)
	}
}

func (p *watchPass) fail(err error) {
	select {
	case p.broken <- err:
	default:
	}
}

func (p *watchPass) handle(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		p.fail(err)
		return
	}
	switch received := p.received.Load(); {
	case meta.Sequence.Consumer <= received:
		return // it came before
	case meta.Sequence.Consumer != received+1 || meta.Sequence.Stream <= p.newest:
		p.fail(errGap)
		return
	}
	p.received.Add(1)
	p.view.heard.note(meta)
	p.apply(msg, meta.Sequence.Stream)
	if meta.Sequence.Stream != p.newest+1 {
		p.gap = meta.Sequence.Stream
	} else if p.certain == p.newest {
		p.certain++
	}
	p.newest = meta.Sequence.Stream
	if !p.reached && p.newest >= p.mark {
		p.reach()
	}
	p.progress()
}

// apply takes over what a message says of its key.
func (p *watchPass) apply(msg jetstream.Msg, sequence uint64) {
	v := p.view
	key, ok := strings.CutPrefix(msg.Subject(), v.prefix)
	if !ok {
		return
	}
	if p.complete && !v.bucket.take(key, sequence) {
		return
	}
	if strings.Contains(key, ownKeyMark) {
		if partition, ok := positionOf(key); ok {
			if to, err := parseReached(msg.Data()); err == nil {
				v.positions.stage(partition, to, sequence)
			}
		}
		return
	}
	gone := removed(msg.Headers())
	if !v.damaged.note(key, msg.Data(), gone) {
		return
	}
	switch {
	case p.staging != nil:
		same := !gone && v.table.same(key, msg.Data(), p.pass)
		p.staging.put(stagingEntry{key: key, value: msg.Data(), gone: gone, void: same})
	case gone:
		v.table.remove(key)
	default:
		v.table.put(key, msg.Data(), p.pass)
	}
}

// removed reports whether the message is a mark in place of a value: a KV client
// deleted or purged the key, or the broker did.
func removed(h nats.Header) bool {
	return len(h) > 0 && (h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != "")
}

// reach is called when all has come that the bucket had when the pass began, but for
// keys that were written since.
func (p *watchPass) reach() {
	p.reached = true
	if p.staging == nil {
		return
	}
	for _, e := range p.staging.all {
		switch {
		case e.void:
		case e.gone:
			p.view.table.remove(e.key)
		default:
			p.view.table.put(e.key, e.value, p.pass)
		}
	}
	p.staging = nil
}

// ask notes that it is now asked where the bucket ends.
func (p *watchPass) ask() {
	p.asking, p.asked, p.end = true, p.newest, 0
	p.view.positions.arm()
	select {
	case <-p.uncertain:
	default:
	}
}

// answered takes the answer.
func (p *watchPass) answered(end uint64) error {
	if end < p.asked || p.reached && end < p.mark {
		return errBehind // of a leader that slept, or of a bucket that was recreated
	}
	p.asking, p.end = false, end
	p.progress()
	return nil
}

// overdue returns what is wrong, as nothing has come for as long as the pass has patience; nil if
// nothing had to come.
func (p *watchPass) overdue() (err error) {
	p.view.gate.pass(func() {
		switch {
		case !p.reached:
			err = errBehind
		case p.end > p.newest:
			err = errSilent
		}
	})
	return err
}

// progress makes public what has become true, and asks for a check where something
// is not known to be.
func (p *watchPass) progress() {
	if p.end != 0 && p.newest >= p.end {
		if p.gap <= p.asked {
			p.certain = p.newest
		} else {
			p.certain = max(p.certain, p.asked)
		}
		p.end = 0
	}
	if !p.complete && p.reached && p.certain >= p.mark {
		p.becomeComplete()
	}
	switch {
	case !p.reached:
		return
	case !p.complete:
	case !p.swept, p.view.positions.publish(p.certain):
		return
	}
	if !p.asking && p.end == 0 {
		select {
		case p.uncertain <- struct{}{}:
		default:
		}
	}
}

// becomeComplete is called when the view has all that the bucket had when the pass
// began.
func (p *watchPass) becomeComplete() {
	p.complete = true
	// Before positions are shown: who has waited for one must not find the error of an
	// earlier pass beside it.
	p.view.lastErr.Store(nil)
	p.view.readyOnce.Do(func() {
		p.view.positions.showAll()
		close(p.view.ready)
	})
	if missing := p.view.table.unseen(p.pass); len(missing) > 0 {
		p.missing <- missing
		return
	}
	p.swept = true
}
