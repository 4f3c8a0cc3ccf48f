package logcmd

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/cmd/holdmetrics/internal/upload"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// settleAtOnce is how many dead letters are resolved together.
const settleAtOnce = 32

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
	var q letterQuery
	c := &cobra.Command{
		Use:   "retry [ID...]",
		Short: "Send the events of dead letters again",
		Long: `Retry sends the events of the letters that are named, or that fit all the filters,
through the server, as any producer sends them. What is accepted now is
settled as retried, so that a second retry does not send it; what is refused again
stays, and is printed with the new reason. Where a retry is cut short, the next one
sends at most what an equal event does already: nothing changes twice.

What was refused since the log was sealed is not sent: it would be refused again, and
leave one letter more. What was too early for the clock is accepted later; what came to another partition
than its holder's is accepted at once. What could not be read never is.`,
		Example: `  holdmetrics dlq retry 3.1207.0
  holdmetrics dlq retry --reason future
  holdmetrics dlq retry --all --server 10.0.0.7:60051`,
	}
	server := connect.ServerFlag(c)
	q.flags(c)
	c.Flags().BoolVar(&q.all, "all", false, "all that are open")
	c.RunE = func(c *cobra.Command, ids []string) error {
		q.ids = ids
		if err := q.check(c); err != nil {
			return err
		}
		if !q.given(c) {
			return usage.Errorf("name the letters, or describe them with filters, or say --all")
		}
		return connect.WithLog(c, func(ctx context.Context, log *ingest.Log) error {
			r := &retry{log: log, out: c.ErrOrStderr()}
			err := r.run(ctx, *server, &q)
			if _, printErr := fmt.Fprintf(c.OutOrStdout(), "retried  %d\nrefused  %d\n", r.retried, r.refused); err == nil {
				err = printErr
			}
			if err == nil && r.refused > 0 {
				err = fmt.Errorf("%s as it is until it is retried with success, or dropped", printing.Counted(int64(r.refused), "letter was refused again; it stays", "letters were refused again; each stays"))
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

	letters []ingest.DeadLetter
	events  []*holdpb.HoldMsg
}

func (r *retry) run(ctx context.Context, server string, q *letterQuery) error {
	conn, err := connect.Dial(server)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := holdpb.NewHoldMetricsClient(conn).BroadcastBatch(ctx)
	if err != nil {
		return connect.CallError(server, err)
	}
	for d, err := range q.letters(ctx, r.log) {
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
		r.letters, r.events = append(r.letters, d), append(r.events, connect.MessageOf(&draft))
		if len(r.events) == upload.BatchEvents {
			if err := r.send(ctx, server, stream); err != nil {
				return err
			}
		}
	}
	return r.send(ctx, server, stream)
}

// send sends one batch and settles what was accepted.
func (r *retry) send(ctx context.Context, server string, stream upload.BatchStream) error {
	if len(r.events) == 0 {
		return nil
	}
	err := stream.Send(&holdpb.HoldBatch{Events: r.events})
	ack, recvErr := stream.Recv() // says more than the Send that failed of it
	if recvErr != nil {
		return connect.CallError(server, recvErr)
	}
	if err != nil {
		return connect.CallError(server, err)
	}
	refused := map[int]string{}
	for _, refusal := range ack.GetRefused() {
		refused[int(refusal.GetIndex())] = refusal.GetError()
	}
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(settleAtOnce)
	for i := range r.letters {
		if reason, is := refused[i]; is {
			r.refuse(&r.letters[i], reason)
			continue
		}
		r.retried++
		group.Go(func() error { return r.log.DeadLetters().Settle(within, r.letters[i], ingest.LetterRetried) })
	}
	err = group.Wait()
	r.letters, r.events = r.letters[:0], r.events[:0]
	return printing.Interrupted(err)
}

func (r *retry) refuse(d *ingest.DeadLetter, reason string) {
	r.refused++
	if r.refused <= upload.ShownBadRows {
		fmt.Fprintf(r.out, "%s: %s\n", d.ID(), printable(reason))
	}
}
