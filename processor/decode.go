package processor

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// item is an accepted event of a batch: its fact, and the pair it belongs to.
type item struct {
	pair     *pair
	fact     hold.Fact // its HoldID lies in the message
	at       int64     // log time
	position uint64
}

// decode reads one message into items, entering holders and pairs that are not
// in memory for load to fill. What is refused becomes a dead letter.
func (a *applier) decode(m *message) {
	a.batch.clock = max(a.batch.clock, m.at)
	a.batch.limits = a.log.LimitsAt(m.position)
	var d hold.Draft
	foreign := m.partition != a.id
	switch {
	case ingest.IsSeal(m.data):
		if !foreign {
			a.decodeSeal(m)
		}
	case m.json:
		if err := ingest.DecodeJSON(m.data, &d); err != nil {
			a.reject(m, 0, m.data, err)
			return
		}
		a.accept(m, 0, m.data, &d)
	case ingest.IsFrame(m.data):
		frame := ingest.ReadFrame(m.data)
		for index := 0; ; index++ {
			event, ok := frame.Next()
			if !ok {
				break
			}
			if foreign && !a.comesHere(event) {
				continue
			}
			a.decodeEvent(m, index, event, &d)
		}
		if err := frame.Err(); err != nil {
			a.reject(m, frame.Index(), frame.Rest(), err)
		}
	case foreign && !a.comesHere(m.data):
	default:
		a.decodeEvent(m, 0, m.data, &d)
	}
}

func (a *applier) decodeEvent(m *message, index int, event []byte, d *hold.Draft) {
	if err := ingest.DecodeEvent(event, d); err != nil {
		a.reject(m, index, event, err)
		return
	}
	a.accept(m, index, event, d)
}

// accept checks a draft against the log's own clock, and the limits that the log
// had at that position, which decides the same way whenever the log is read. Then
// the rules have their word.
func (a *applier) accept(m *message, index int, data []byte, d *hold.Draft) {
	if a.whole {
		a.acceptWhole(m, index, data, d)
		return
	}
	event, err := d.Check(m.at+ingest.AcceptedAhead, a.batch.limits)
	if err != nil {
		a.reject(m, index, data, err)
		return
	}
	event.Token, event.Holder = a.cfg.Rules.Token(event.Token), a.cfg.Rules.Holder(event.Holder)
	h := a.mem.cache.holders[event.Holder]
	if h == nil {
		if err := a.misplaced(event.Holder, a.id); err != nil {
			a.reject(m, index, data, err)
			return
		}
	}
	a.enterEvent(m, index, data, h, &event)
}

// misplaced says that a holder's events do not belong into a partition, where they do not.
func (a *applier) misplaced(holder string, partition int) error {
	if home := ingest.Partition(holder, a.log.Partitions()); home != partition {
		return ingest.WrongPartition(home, partition)
	}
	return nil
}

// enterEvent takes an event of a holder of this partition, as the rules name it,
// into the batch. h is the holder, nil where it is not in memory.
func (a *applier) enterEvent(m *message, index int, data []byte, h *holder, event *hold.Event) {
	var t *token
	if h != nil && h.first.token != nil && h.first.token.name == event.Token {
		t = h.first.token // no need to look it up
	} else {
		t = a.mem.cache.tokenOf(event.Token)
		defer a.mem.cache.forget(t) // unless a pair is entered
	}
	if err := t.rule.Accepts(event.HoldID); err != nil {
		a.reject(m, index, data, err)
		return
	}
	if err := event.CheckSealed(a.batch.horizon); err != nil {
		a.refuse(m, index, data, err) // wherever it lies: nobody else judges it
		return
	}
	if h == nil {
		if a.cfg.Rules.Excluded(event.Holder) {
			a.batch.excluded++
			return
		}
		h = a.mem.cache.addHolder(event.Holder)
		a.mem.newHolders = append(a.mem.newHolders, h)
	}
	pr := a.mem.cache.pair(h, t)
	if pr == nil {
		pr = a.mem.cache.addPair(h, t)
		a.mem.newPairs = append(a.mem.newPairs, pr)
	}
	if a.batch.horizon != 0 {
		a.batch.judged = append(a.batch.judged, judged{a.batch.horizon, m, index, data})
	}
	a.batch.items = append(a.batch.items, item{pair: pr, fact: event.Fact(), at: a.batch.clock, position: m.position})
}

// reject counts an event that is refused, wherever its holder is at home, and makes
// its dead letter. In a message of another partition that one does.
func (a *applier) reject(m *message, index int, data []byte, err error) {
	if m.partition == a.id {
		a.refuse(m, index, data, err)
	}
}

// refuse counts an event that is refused and makes its dead letter.
func (a *applier) refuse(m *message, index int, data []byte, err error) {
	kind := ingest.ReasonOf(err)
	a.batch.rejected[kind]++
	if m.position > a.controls.deadLetters.Load() {
		return
	}
	deadLetter := ingest.DeadLetter{
		Partition: m.partition,
		Sequence:  m.position,
		Index:     index,
		Reason:    err.Error(),
		Kind:      kind,
		Origin:    m.origin,
		Data:      data,
		Framed:    !m.json && ingest.IsFrame(m.data),
	}
	if m.json {
		deadLetter.ContentType = ingest.JSONContentType
	}
	if field := (*hold.FieldError)(nil); errors.As(err, &field) {
		deadLetter.Field = field.Field
	}
	a.batch.deadLetters = append(a.batch.deadLetters, deadLetter)
	a.batch.deadLetterBytes += len(data) + deadLetterOverhead
}

// deadLetterOverhead is what a dead letter takes in memory beside its data.
const deadLetterOverhead = 512

// Where rules normalise holders, an event may lie in another partition than its
// holder's: the log puts it where the id as it was sent belongs. Rules change the
// case of letters alone, so with 16 partitions, or another number that divides 32,
// it never does (see [ingest.CaseKeepsPartition]). With any other number each
// partition reads the whole log, and takes
//
//   - of its own messages, the events whose holder is at home here, and all
//     rejections;
//   - of the messages of other partitions, only events whose holder is at home here
//     by the normalised id. Of the others no more is read than the holder.
//
// Every event is taken by one partition, and rejected by one: what a seal or a pair
// that is sealed refuses by the holder's, anything else by the message's. A partition
// goes by its own seals alone, whatever message an event lies in: only from there on
// are its pairs final, and a seal of another one comes before or after. Positions are those
// of the stream, so a checkpoint, an end and what is pending mean the whole log here.

// readsWhole reports whether every partition reads the whole log.
func readsWhole(rules hold.Rules, partitions int) bool {
	return rules.NormalisesHolders() && !ingest.CaseKeepsPartition(partitions)
}

// everyPartition is what read is asked for instead of one partition.
const everyPartition = -1

// wholeLog is a log that every partition reads whole.
type wholeLog struct{ eventLog }

// End is the last position of the log.
func (l wholeLog) End(ctx context.Context, _ int) (uint64, error) {
	_, last, err := l.Look(ctx)
	return last, err
}

// CountAfter counts the messages of the whole log.
func (l wholeLog) CountAfter(ctx context.Context, _ int, after uint64) (messages, last uint64, err error) {
	return l.eventLog.CountAfter(ctx, everyPartition, after)
}

func (l wholeLog) read(ctx context.Context, _ int, after uint64, in *prefetchBuffer, log *zap.Logger) (func(), error) {
	return l.eventLog.read(ctx, everyPartition, after, in, log)
}

// acceptWhole is accept where the log is read whole.
func (a *applier) acceptWhole(m *message, index int, data []byte, d *hold.Draft) {
	event, err := d.Check(m.at+ingest.AcceptedAhead, a.batch.limits)
	if err == nil {
		err = a.misplaced(event.Holder, m.partition)
	}
	if err != nil {
		a.reject(m, index, data, err)
		return
	}
	event.Token, event.Holder = a.cfg.Rules.Token(event.Token), a.cfg.Rules.Holder(event.Holder)
	h := a.mem.cache.holders[event.Holder]
	if h == nil && a.misplaced(event.Holder, a.id) != nil {
		// It is at home elsewhere. What the rules refuse is refused here.
		if err := a.cfg.Rules.Of(event.Token).Accepts(event.HoldID); err != nil {
			a.reject(m, index, data, err)
		}
		return
	}
	a.enterEvent(m, index, data, h, &event)
}

// comesHere reports whether the holder of an event of another partition's message is
// at home here, for which it reads no more of the event than it has to.
func (a *applier) comesHere(event []byte) bool {
	sent, ok := ingest.HolderOfEvent(event)
	return ok && a.namedHere(sent)
}

// namedHere reports whether a holder is at home here by another id than was sent.
func (a *applier) namedHere(sent string) bool {
	named := a.cfg.Rules.Holder(sent)
	return named != sent && ingest.Partition(named, a.log.Partitions()) == a.id
}
