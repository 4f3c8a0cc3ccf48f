package processor

import (
	"context"

	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

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
