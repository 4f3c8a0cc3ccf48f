package grpcapi

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"holdmetrics/ingest"

	// The codec named "proto", which this one stands in front of.
	_ "google.golang.org/grpc/encoding/proto"
)

// rawMessage is a protobuf message that the gateway does not unpack into a Go
// message. There are two reasons. Events are checked and written to the log from
// their bytes, without an object each. And an event whose bytes are bad (an id
// that is not UTF-8, say) must be refused in its place with its field named,
// while the ordinary codec would end the whole stream over it.
//
// What is sent may be in two parts, of which the first is shared by many streams.
type rawMessage struct{ bytes, more []byte }

// codec is the ordinary protobuf codec that also knows rawMessage.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Marshal passes the bytes of a rawMessage on as they are; they must not change
// until the transport has written them.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.(*rawMessage); ok {
		if len(raw.more) > 0 {
			return mem.BufferSlice{mem.SliceBuffer(raw.bytes), mem.SliceBuffer(raw.more)}, nil
		}
		return mem.BufferSlice{mem.SliceBuffer(raw.bytes)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// keptBytes is how much memory a rawMessage keeps for the next message: a stream
// that once sent a message of the largest size does not hold that much ever after.
const keptBytes = 4 << 20

// Unmarshal copies the bytes into a rawMessage, whose memory it reuses.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	raw, ok := v.(*rawMessage)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	n := data.Len()
	if cap(raw.bytes) < n || cap(raw.bytes) > keptBytes && n <= keptBytes {
		raw.bytes = make([]byte, n)
	}
	raw.bytes = raw.bytes[:n]
	data.CopyTo(raw.bytes)
	return nil
}

var (
	errBatchBytes = fmt.Errorf("%w: the batch does not decode as protobuf", ingest.ErrMalformed)
	errBatchLong  = fmt.Errorf("%w: the batch has more than %d events", ingest.ErrMalformed, MaxBatchEvents)
)

// eachEvent walks the events of a HoldBatch without unpacking them. Where the
// batch itself is damaged, or has too many events, it returns an error before the
// first call of fn, so that a batch is never taken in half.
func eachEvent(batch []byte, fn func(event []byte) error) error {
	events := 0
	for b := batch; len(b) > 0; {
		num, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return errBatchBytes
		}
		if num == 1 {
			if events++; events > MaxBatchEvents {
				return errBatchLong
			}
		}
		b = b[n:]
	}
	for b := batch; len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		b = b[n:]
		if num != 1 || kind != protowire.BytesType {
			b = b[protowire.ConsumeFieldValue(num, kind, b):]
			continue
		}
		event, n := protowire.ConsumeBytes(b)
		b = b[n:]
		if err := fn(event); err != nil {
			return err
		}
	}
	return nil
}
