package ingest

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/hold"
)

// AcceptedAhead (S6.8) is by how many nanoseconds the log's clock may lag behind that of
// a server that accepted an event. Readers of the log judge by a message's time and
// that much more, so that what a server accepted is never refused later.
const AcceptedAhead = int64(time.Minute)

// ErrPartition: an event was published to another partition than its holder's.
var ErrPartition = errors.New("holder belongs to another partition")

// Message is a message of the log.
type Message struct {
	Position  uint64
	Partition int
	// Time is the log's time of it in nanoseconds, by which its events are judged.
	Time   int64
	JSON   bool        // its producer said that it is JSON
	Header nats.Header // as it came; may be nil
	Data   []byte
}

// Entry is one event of a message, or what could not be read of it.
type Entry struct {
	Index int        // place in the frame; 0 for a lone event
	Draft hold.Draft // the event as it came, where Err is nil; its strings alias Data
	Data  []byte     // the event's bytes; of a damaged frame, all from the damage on
	Err   error      // why Data is no event
}

// Entries gives the events of a message in order, as every reader of the log has
// them. Where a frame is damaged, the last entry says so; a frame without events
// has no entries, and neither has a seal.
func (m *Message) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if IsSeal(m.Data) {
			return
		}
		if m.JSON || !IsFrame(m.Data) {
			e := Entry{Data: m.Data}
			if m.JSON {
				e.Err = DecodeJSON(m.Data, &e.Draft)
			} else {
				e.Err = DecodeEvent(m.Data, &e.Draft)
			}
			yield(e)
			return
		}
		frame := ReadFrame(m.Data)
		for {
			index := frame.Index()
			data, ok := frame.Next()
			if !ok {
				break
			}
			e := Entry{Index: index, Data: data}
			e.Err = DecodeEvent(data, &e.Draft)
			if !yield(e) {
				return
			}
		}
		if err := frame.Err(); err != nil {
			yield(Entry{Index: frame.Index(), Data: frame.Rest(), Err: err})
		}
	}
}

// Judge reports whether an event of a message counts: by the message's time, by the
// limits that the log had at its position, and by its partition. It decides as the
// processor does, whenever it is asked; what rules say beyond that it does not
// know, nor what a pair refuses since the log was sealed. The error is the reason of the event's dead letter.
func (l *Log) Judge(m *Message, e *Entry) (hold.Event, error) {
	if e.Err != nil {
		return hold.Event{}, e.Err
	}
	event, err := e.Draft.Check(m.Time+AcceptedAhead, l.LimitsAt(m.Position))
	if err != nil {
		return hold.Event{}, err
	}
	if home := Partition(event.Holder, l.partitions); home != m.Partition {
		return hold.Event{}, WrongPartition(home, m.Partition)
	}
	return event, nil
}

// WrongPartition is the refusal of an event that lies in another partition than its
// holder's home. It matches ErrPartition.
func WrongPartition(home, partition int) error {
	return &hold.FieldError{Field: "holder_id", Err: ErrPartition, Detail: fmt.Sprintf("%d, not %d", home, partition)}
}
