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

// reasons are the values of the label `reason` of holdmetrics_events_rejected_total.
var reasons = []struct {
	err    error
	reason string
}{
	{ingest.ErrFrame, "damaged_frame"},
	{ingest.ErrPartition, "wrong_partition"},
	{hold.ErrRequired, "required"},
	{hold.ErrTooLong, "too_long"},
	{hold.ErrNotUTF8, "not_utf8"},
	{hold.ErrControl, "control_character"},
	{hold.ErrTime, "time"},
	{hold.ErrOrder, "order"},
	{hold.ErrFuture, "future"},
	{hold.ErrWeight, "weight"},
	{hold.ErrHoldIDNeeded, "hold_id_needed"},
	{hold.ErrSealed, "sealed"},
}

// reasonMalformed is the reason of everything else: bytes that are no event.
const reasonMalformed = "malformed"

func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return reasonMalformed
}

// decode reads one message into items, entering holders and pairs that are not
// in memory for load to fill. What is refused becomes a dead letter.
func (p *partition) decode(m *message) {
	p.batch.clock = max(p.batch.clock, m.at)
	p.batch.limits = p.log.LimitsAt(m.position)
	var d hold.Draft
	foreign := m.partition != p.id
	switch {
	case ingest.IsSeal(m.data):
		if !foreign {
			p.decodeSeal(m)
		}
	case m.json:
		if err := ingest.DecodeJSON(m.data, &d); err != nil {
			p.reject(m, 0, m.data, err)
			return
		}
		p.accept(m, 0, m.data, &d)
	case ingest.IsFrame(m.data):
		frame := ingest.ReadFrame(m.data)
		for index := 0; ; index++ {
			event, ok := frame.Next()
			if !ok {
				break
			}
			if foreign && !p.comesHere(event) {
				continue
			}
			p.decodeEvent(m, index, event, &d)
		}
		if err := frame.Err(); err != nil {
			p.reject(m, frame.Index(), frame.Rest(), err)
		}
	case foreign && !p.comesHere(m.data):
	default:
		p.decodeEvent(m, 0, m.data, &d)
	}
}

func (p *partition) decodeEvent(m *message, index int, event []byte, d *hold.Draft) {
	if err := ingest.DecodeEvent(event, d); err != nil {
		p.reject(m, index, event, err)
		return
	}
	p.accept(m, index, event, d)
}

// accept checks a draft against the log's own clock, and the limits that the log
// had at that position, which decides the same way whenever the log is read. Then
// the rules have their word.
func (p *partition) accept(m *message, index int, data []byte, d *hold.Draft) {
	if p.whole {
		p.acceptWhole(m, index, data, d)
		return
	}
	event, err := d.Check(m.at+ingest.AcceptedAhead, p.batch.limits)
	if err != nil {
		p.reject(m, index, data, err)
		return
	}
	event.Token, event.Holder = p.cfg.Rules.Token(event.Token), p.cfg.Rules.Holder(event.Holder)
	h := p.cache.holders[event.Holder]
	if h == nil {
		if err := p.misplaced(event.Holder, p.id); err != nil {
			p.reject(m, index, data, err)
			return
		}
	}
	p.enterEvent(m, index, data, h, &event)
}

// misplaced says that a holder's events do not belong into a partition, where they do not.
func (p *partition) misplaced(holder string, partition int) error {
	if home := ingest.Partition(holder, p.log.Partitions()); home != partition {
		return ingest.WrongPartition(home, partition)
	}
	return nil
}

// enterEvent takes an event of a holder of this partition, as the rules name it,
// into the batch. h is the holder, nil where it is not in memory.
func (p *partition) enterEvent(m *message, index int, data []byte, h *holder, event *hold.Event) {
	var t *token
	if h != nil && h.first.token != nil && h.first.token.name == event.Token {
		t = h.first.token // no need to look it up
	} else {
		t = p.cache.tokenOf(event.Token)
		defer p.cache.forget(t) // unless a pair is entered
	}
	if err := t.rule.Accepts(event.HoldID); err != nil {
		p.reject(m, index, data, err)
		return
	}
	if err := event.CheckSealed(p.batch.horizon); err != nil {
		p.refuse(m, index, data, err) // wherever it lies: nobody else judges it
		return
	}
	if h == nil {
		if p.cfg.Rules.Excluded(event.Holder) {
			p.batch.excluded++
			return
		}
		h = p.cache.addHolder(event.Holder)
		p.batch.newHolders = append(p.batch.newHolders, h)
	}
	pr := p.cache.pair(h, t)
	if pr == nil {
		pr = p.cache.addPair(h, t)
		p.batch.newPairs = append(p.batch.newPairs, pr)
	}
	if p.batch.horizon != 0 {
		p.batch.judged = append(p.batch.judged, judged{p.batch.horizon, m, index, data})
	}
	p.batch.items = append(p.batch.items, item{pair: pr, fact: event.Fact(), at: p.batch.clock, position: m.position})
}

// reject counts an event that is refused, wherever its holder is at home, and makes
// its dead letter. In a message of another partition that one does.
func (p *partition) reject(m *message, index int, data []byte, err error) {
	if m.partition == p.id {
		p.refuse(m, index, data, err)
	}
}

// refuse counts an event that is refused and makes its dead letter.
func (p *partition) refuse(m *message, index int, data []byte, err error) {
	kind := reasonOf(err)
	p.batch.rejected[kind]++
	if m.position > p.controls.letters.Load() {
		return
	}
	letter := ingest.DeadLetter{
		Partition: m.partition,
		Sequence:  m.position,
		Index:     index,
		Reason:    err.Error(),
		Kind:      kind,
		Origin:    m.origin,
		Data:      data,
	}
	if m.json {
		letter.ContentType = ingest.JSONContentType
	}
	if field := (*hold.FieldError)(nil); errors.As(err, &field) {
		letter.Field = field.Field
	}
	p.batch.letters = append(p.batch.letters, letter)
	p.batch.letterBytes += len(data) + letterOverhead
}

// letterOverhead is what a dead letter takes in memory beside its data.
const letterOverhead = 512

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

// readsWhole says whether every partition reads the whole log.
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

func (l wholeLog) read(ctx context.Context, _ int, after uint64, in *inbox, log *zap.Logger) (func(), error) {
	return l.eventLog.read(ctx, everyPartition, after, in, log)
}

// acceptWhole is accept where the log is read whole.
func (p *partition) acceptWhole(m *message, index int, data []byte, d *hold.Draft) {
	event, err := d.Check(m.at+ingest.AcceptedAhead, p.batch.limits)
	if err == nil {
		err = p.misplaced(event.Holder, m.partition)
	}
	if err != nil {
		p.reject(m, index, data, err)
		return
	}
	event.Token, event.Holder = p.cfg.Rules.Token(event.Token), p.cfg.Rules.Holder(event.Holder)
	h := p.cache.holders[event.Holder]
	if h == nil && p.misplaced(event.Holder, p.id) != nil {
		// It is at home elsewhere. What the rules refuse is refused here.
		if err := p.cfg.Rules.Of(event.Token).Accepts(event.HoldID); err != nil {
			p.reject(m, index, data, err)
		}
		return
	}
	p.enterEvent(m, index, data, h, &event)
}

// comesHere says whether the holder of an event of another partition's message is
// at home here, for which it reads no more of the event than it has to.
func (p *partition) comesHere(event []byte) bool {
	sent, ok := ingest.HolderOfEvent(event)
	return ok && p.namedHere(sent)
}

// namedHere says whether a holder is at home here by another id than was sent.
func (p *partition) namedHere(sent string) bool {
	named := p.cfg.Rules.Holder(sent)
	return named != sent && ingest.Partition(named, p.log.Partitions()) == p.id
}
