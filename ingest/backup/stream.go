package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/backoff"
)

// The client library does not know the part of the JetStream API that copies
// streams, so it is spoken here:
//
//	$JS.API.STREAM.SNAPSHOT.<stream>  the server sends chunks to a subject; each is
//	                                  acknowledged by an empty reply, which is what paces
//	                                  it; an empty chunk is the end, its status the outcome
//	$JS.API.STREAM.RESTORE.<stream>   the server names a subject that takes the chunks and
//	                                  answers each; an empty one is the end, and its answer
//	                                  is the stream, or why there is none
const (
	snapshotAPI = "$JS.API.STREAM.SNAPSHOT."
	restoreAPI  = "$JS.API.STREAM.RESTORE."

	chunkBytes = 128 << 10
	// silence is how long the server may say nothing.
	silence = time.Minute
	// ending is how long it may take to put a restored stream in order.
	ending = 10 * time.Minute

	statusHeader, descriptionHeader = "Status", "Description"
	statusEnd                       = "204"
)

type apiAnswer struct {
	Error *jetstream.APIError `json:"error"`
}

type snapshotAnswer struct {
	apiAnswer
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

type streamState struct {
	Messages uint64 `json:"messages"`
	Last     uint64 `json:"last_seq"`
}

// api asks the server; an error that it answers is a *jetstream.APIError.
func api(ctx context.Context, conn *nats.Conn, subject string, question, answer any) error {
	text, err := json.Marshal(question)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	m, err := conn.RequestWithContext(ctx, subject, text)
	if errors.Is(err, nats.ErrNoResponders) {
		return errors.New("the server does not run JetStream, or this user may not use it")
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, answer)
}

// snapshot gives a stream to fn, chunk by chunk.
func snapshot(ctx context.Context, conn *nats.Conn, name string, fn func([]byte) error) (Stream, error) {
	to := conn.NewInbox()
	sub, err := conn.SubscribeSync(to)
	if err != nil {
		return Stream{}, err
	}
	defer sub.Unsubscribe()
	var answer snapshotAnswer
	question := map[string]any{"deliver_subject": to, "no_consumers": true, "chunk_size": chunkBytes}
	if err := api(ctx, conn, snapshotAPI+name, question, &answer); err != nil {
		return Stream{}, err
	}
	if answer.Error != nil {
		if answer.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound {
			return Stream{}, jetstream.ErrStreamNotFound
		}
		return Stream{}, answer.Error
	}
	var state streamState
	if err := json.Unmarshal(answer.State, &state); err != nil {
		return Stream{}, err
	}
	for {
		m, err := next(ctx, sub)
		if err != nil {
			return Stream{}, err
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get(statusHeader); status != "" && status != statusEnd {
				return Stream{}, fmt.Errorf("the server gave up: %s %s", status, m.Header.Get(descriptionHeader))
			}
			return Stream{Name: name, Config: answer.Config, State: answer.State, Messages: state.Messages, Last: state.Last}, nil
		}
		if err := fn(m.Data); err != nil {
			return Stream{}, err
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return Stream{}, err
			}
		}
	}
}

func next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	within, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	m, err := sub.NextMsgWithContext(within)
	if err != nil && ctx.Err() == nil && within.Err() != nil {
		return nil, fmt.Errorf("the server has said nothing for %s", silence)
	}
	return m, err
}

// RestoreStream makes a stream of a snapshot, with so many replicas; 0: as it
// had. The error wraps [ErrExists] where there is one of that name.
func RestoreStream(ctx context.Context, conn *nats.Conn, s Stream, replicas int, from io.Reader) error {
	if err := restoreStream(ctx, conn, s, replicas, from); err != nil {
		return fmt.Errorf("backup: restore stream %s: %w", s.Name, err)
	}
	return nil
}

func restoreStream(ctx context.Context, conn *nats.Conn, s Stream, replicas int, from io.Reader) error {
	config, err := withReplicas(s.Config, replicas)
	if err != nil {
		return err
	}
	var answer struct {
		apiAnswer
		To string `json:"deliver_subject"`
	}
	if err := api(ctx, conn, restoreAPI+s.Name, map[string]any{"config": config, "state": s.State}, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return restoreError(answer.Error)
	}
	chunk := make([]byte, min(chunkBytes, conn.MaxPayload()))
	for {
		n, err := io.ReadFull(from, chunk)
		if n > 0 {
			if err := send(ctx, conn, answer.To, chunk[:n], silence, nil); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	var made struct {
		State *streamState `json:"state"`
	}
	if err := send(ctx, conn, answer.To, nil, ending, &made); err != nil {
		return err
	}
	// Of messages that live for a time, as gateways' and builders' words in the
	// record of generations, some may have run out since the backup.
	var expiring struct {
		Messages bool `json:"allow_msg_ttl"`
	}
	if err := json.Unmarshal(config, &expiring); err != nil {
		return err
	}
	if made.State == nil {
		return errors.New("the server does not say what it made of it")
	}
	// Each change may have cost the copy the message that it wrote over.
	changed := len(s.Changes) > 0 && made.State.Messages+uint64(len(s.Changes)) >= s.Messages
	if made.State.Last < s.Last || !expiring.Messages && !changed && (made.State.Messages != s.Messages || made.State.Last != s.Last) {
		return fmt.Errorf("%w: the server made a stream of %d messages up to %d of one of %d up to %d",
			ErrUnreadable, made.State.Messages, made.State.Last, s.Messages, s.Last)
	}
	return apply(ctx, conn, &s)
}

// send sends a chunk and reads its answer into made, where that is wanted. The subject
// was named by one server of a cluster: the one that this program is connected to may
// hear a moment later that somebody listens to it. A chunk that nobody has received may
// be sent again.
func send(ctx context.Context, conn *nats.Conn, to string, chunk []byte, patience time.Duration, made any) error {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pauses := backoff.Backoff{First: 10 * time.Millisecond, Most: time.Second}
	m, err := conn.RequestWithContext(within, to, chunk)
	nobody := false
	for errors.Is(err, nats.ErrNoResponders) && pauses.Wait(within) == nil {
		nobody = true
		m, err = conn.RequestWithContext(within, to, chunk)
	}
	if nobody && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", nats.ErrNoResponders, err) // why it took so long
	}
	if err != nil {
		return err
	}
	if len(m.Data) == 0 {
		return nil
	}
	var answer apiAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return restoreError(answer.Error)
	}
	if made == nil {
		return nil
	}
	return json.Unmarshal(m.Data, made)
}

func restoreError(err *jetstream.APIError) error {
	if err.ErrorCode == jetstream.JSErrCodeStreamNameInUse || err.ErrorCode == errCodeRestoreExists {
		return ErrExists
	}
	return err
}

// errCodeRestoreExists is the server's for a stream that cannot be restored, since
// it is there.
const errCodeRestoreExists = 10130

// withReplicas changes the replicas of a stream and keeps the other settings, also those
// that this program does not know. A stream with several is not compressed: a server
// of the versions that package ingest names can lose a replica that is. What was
// compressed in the backup is read all the same, since each block says how it is packed.
func withReplicas(config json.RawMessage, replicas int) (json.RawMessage, error) {
	if replicas == 0 {
		return config, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, err
	}
	all["num_replicas"] = json.RawMessage(fmt.Sprint(replicas))
	if replicas > 1 {
		all["compression"] = json.RawMessage(`"none"`)
	}
	return json.Marshal(all)
}
