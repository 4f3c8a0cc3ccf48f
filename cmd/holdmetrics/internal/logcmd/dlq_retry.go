package logcmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/upload"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// kindSealed is the kind of dead letters whose events came too late for a sealed
// pair. A server does not know that, and a horizon never goes down.
const kindSealed = "sealed"

// eventIn reads the event that a dead letter carries, as text.
func eventIn(d *ingest.DeadLetter) (draftText, error) {
	var draft hold.Draft
	if err := d.Decode(&draft); err != nil {
		return draftText{}, err
	}
	return describeDraft(&draft), nil
}

func newDLQRetry() *cobra.Command {
	var q deadLetterQuery
	c := &cobra.Command{
		Use:   "retry [ID...]",
		Short: "Send the events of dead letters again",
		Long: `Retry sends the events of the dead letters that are named, or that match all filters,
through the server, like any producer. If an event is accepted, its dead letter is
resolved as retried, and a second retry does not send it. If it is refused again, the
dead letter stays, and the new reason is printed. A retry that was interrupted can be
repeated: an event that is sent twice changes nothing the second time.

Dead letters of kind sealed are not sent, because they would be refused again. An
event that was ahead of the clock is accepted later. An event of another partition
than its holder's is accepted at once. Bytes that are no event are never accepted.`,
		Example: `  holdmetrics dlq retry 3.1207.0
  holdmetrics dlq retry --reason future
  holdmetrics dlq retry --all --server 10.0.0.7:60051`,
	}
	server := connect.ServerFlags(c)
	q.flags(c)
	c.Flags().BoolVar(&q.all, "all", false, "all that are open")
	c.RunE = func(c *cobra.Command, ids []string) error {
		q.ids = ids
		if err := q.check(c); err != nil {
			return err
		}
		if !q.given(c) {
			return usage.Errorf("name the dead letters, or describe them with filters, or pass --all")
		}
		return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error {
			r := &retry{log: log, out: c.ErrOrStderr()}
			err := r.run(ctx, server, &q)
			if _, printErr := fmt.Fprintf(c.OutOrStdout(), "retried  %d\nrefused  %d\n", r.retried, r.refused); err == nil {
				err = printErr
			}
			if err == nil && r.refused > 0 {
				err = fmt.Errorf("%s as it is until it is retried with success, or dropped", printing.Counted(int64(r.refused), "dead letter was refused again; it stays", "dead letters were refused again; each stays"))
			}
			return err
		})
	}
	return c
}

// retry sends dead letters again.
type retry struct {
	log              *ingest.Log
	out              io.Writer // takes what is refused
	retried, refused int

	deadLetters []ingest.DeadLetter
	events      []*holdpb.HoldMsg
}

func (r *retry) run(ctx context.Context, server *connect.Server, q *deadLetterQuery) error {
	conn, err := server.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := holdpb.NewHoldMetricsClient(conn).BroadcastBatch(ctx)
	if err != nil {
		return server.Error(err)
	}
	for d, err := range q.deadLetters(ctx, r.log) {
		if err != nil {
			return err
		}
		if d.Kind == kindSealed {
			r.refuse(&d, d.Reason)
			continue
		}
		draft, err := eventOf(ctx, r.log, &d)
		if err == nil {
			err = upload.Unsendable(&draft)
		}
		if err != nil {
			r.refuse(&d, err.Error())
			continue
		}
		d.Data = nil
		r.deadLetters, r.events = append(r.deadLetters, d), append(r.events, connect.MessageOf(&draft))
		if len(r.events) == upload.BatchEvents {
			if err := r.send(ctx, server, stream); err != nil {
				return err
			}
		}
	}
	return r.send(ctx, server, stream)
}

// send sends one batch and resolves what was accepted.
func (r *retry) send(ctx context.Context, server *connect.Server, stream upload.BatchStream) error {
	if len(r.events) == 0 {
		return nil
	}
	err := stream.Send(&holdpb.HoldBatch{Events: r.events})
	ack, recvErr := stream.Recv() // says more than the Send that failed of it
	if recvErr != nil {
		return server.Error(recvErr)
	}
	if err != nil {
		return server.Error(err)
	}
	refused := map[int]string{}
	for _, refusal := range ack.GetRefused() {
		refused[int(refusal.GetIndex())] = refusal.GetError()
	}
	var accepted []ingest.DeadLetter
	for i := range r.deadLetters {
		if reason, is := refused[i]; is {
			r.refuse(&r.deadLetters[i], reason)
			continue
		}
		r.retried++
		accepted = append(accepted, r.deadLetters[i])
	}
	_, err = r.log.DeadLetters().ResolveAll(ctx, accepted, ingest.DeadLetterRetried)
	r.deadLetters, r.events = r.deadLetters[:0], r.events[:0]
	return printing.Interrupted(err)
}

func (r *retry) refuse(d *ingest.DeadLetter, reason string) {
	r.refused++
	if r.refused <= upload.ShownBadRows {
		fmt.Fprintf(r.out, "%s: %s\n", d.ID(), printable(reason))
	}
}
