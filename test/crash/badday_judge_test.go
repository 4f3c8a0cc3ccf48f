package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

const (
	// dayLasts is for how long a server gives the same reason until it is believed to
	// stay. It is longer than the pauses in which the server tries again.
	dayLasts = 4 * time.Second
	// dayPasses is how long a server may take until it is ready, or gives a reason.
	dayPasses = 90 * time.Second
	// dayStarts is how often a server that ends by itself is started again.
	dayStarts = 2
)

// passingReasons are those of a server that is on its way.
var passingReasons = []string{
	"starting", "is loading", "is catching up", "being compared", "are read up to", "not read yet", "published again",
	"is opened again", "does not move", "is being opened", "make sure of the log",
}

// judge waits until the server is ready and compares all figures, or until it has given
// a reason for a while why it is not.
func (d *day) judge() (outcome, string) {
	var reason string
	var since time.Time
	starts := 0
	for began := time.Now(); ; {
		if text := d.srv.crashed(); text != "" {
			return wrong, "the server crashed: " + text
		}
		if !d.srv.running() {
			said := ""
			if d.srv.cmd != nil {
				said = d.srv.last()
				_ = d.srv.stop(syscall.SIGKILL)
			}
			if starts >= dayStarts {
				if !strings.Contains(said, ": ") {
					return wrong, "the server does not start and gives no reason: " + said
				}
				return honest, "no start: " + said
			}
			starts++
			d.tell("it is started again, since it has ended: %s", said)
			if err := d.srv.start(); err != nil && !errors.Is(err, errEnded) {
				return wrong, err.Error()
			}
			continue
		}
		err := d.eyes.get(context.Background(), "/readyz", nil)
		if err == nil {
			end, why, again := d.compare()
			if !again {
				return end, why
			}
			err = errors.New(why)
		}
		text := err.Error()
		if withoutNumbers(text) != withoutNumbers(reason) {
			d.tell("not ready: %s", text)
			reason, since = text, time.Now()
		}
		refused := new(answerError)
		lasts := errors.As(err, &refused) && !slices.ContainsFunc(passingReasons, func(p string) bool { return strings.Contains(text, p) })
		switch {
		case lasts && !d.kind.heals && time.Since(since) > dayLasts:
			return honest, refused.text
		case time.Since(began) > dayPasses:
			return wrong, "after " + dayPasses.String() + " it is neither ready nor done for: " + text
		}
		time.Sleep(2 * lookAgain)
	}
}

// compare compares the figures of a server that said that it is ready. again: it is
// not ready any more, or does not answer in time.
func (d *day) compare() (end outcome, why string, again bool) {
	if !d.load.pause(2 * dayCall) {
		if err := d.eyes.get(context.Background(), "/readyz", nil); err != nil {
			return right, "recording: " + err.Error(), true
		}
		if !d.load.await(dayPasses/3, func() bool { return d.load.idle }) && d.eyes.get(context.Background(), "/readyz", nil) == nil {
			return wrong, fmt.Sprintf("the server is ready and takes no event: %v", d.load.err()), false
		}
	}
	defer d.load.resume()
	// What it says while nothing new is on its way.
	if err := d.eyes.get(context.Background(), "/readyz", nil); err != nil {
		return right, err.Error(), true
	}
	want := newTruth(hold.Merge)
	for _, m := range d.load.acked {
		want.add(d.t, m)
	}
	at := behind()
	conn := dial(d.t, d.srv.grpc)
	defer conn.Close()
	for _, read := range []struct {
		what      string
		got, want func() ([]string, error)
	}{
		{"figures in the store", func() ([]string, error) { return d.scores(conn, at) }, func() ([]string, error) { return want.rows(at), nil }},
		{"snapshots", func() ([]string, error) { return d.snapshots(conn, at) }, func() ([]string, error) { return flatten(want.snapshots(d.t, at)), nil }},
	} {
		got, err := read.got()
		if err != nil {
			if d.eyes.get(context.Background(), "/readyz", nil) != nil || away(err) {
				return right, read.what + ": " + err.Error(), true
			}
			// A refused answer under a green light is honest, if it stays with that.
			return honest, read.what + ": " + err.Error(), false
		}
		wanted, _ := read.want()
		if text := difference(got, wanted); text != "" {
			return wrong, fmt.Sprintf("the server is ready; %s, %d lines, want %d: %s", read.what, len(got), len(wanted), text), false
		}
	}
	return right, "", false
}

func flatten(m map[string]string) (lines []string) {
	for _, holder := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, holder+": "+m[holder])
	}
	slices.Sort(lines)
	return lines
}

// scores are the figures of all pairs.
func (d *day) scores(conn *grpc.ClientConn, at int64) (got []string, err error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 4*dayCall)
	defer cancel()
	stream, err := holdpb.NewHoldMetricsQueryClient(conn).Scores(ctx, &holdpb.ScoresRequest{
		AsOf: timestamppb.New(time.Unix(0, at)), ByToken: true, Projected: true, After: d.load.position,
	}, grpc.WaitForReady(true))
	err = each(stream, err, func(s *holdpb.Score) {
		got = append(got, row(pairName{s.TokenId, s.HolderId}, s.Score, s.HeldSeconds, s.SettledScore, s.SettledHeldSeconds))
	})
	slices.Sort(got)
	return got, err
}

// snapshots are the figures of all holders.
func (d *day) snapshots(conn *grpc.ClientConn, at int64) ([]string, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), 4*dayCall)
	defer cancel()
	stream, err := holdpb.NewHoldMetricsClient(conn).Stats(ctx, &holdpb.StatsRequest{After: d.load.position}, grpc.WaitForReady(true))
	got := map[string]string{}
	err = each(stream, err, func(s *holdpb.HoldStat) {
		if s.HolderId != "" {
			got[s.HolderId] = figuresOf(d.t, s, at)
		}
	})
	return flatten(got), err
}

// difference returns the first line that is in one of two sorted lists, or "".
func difference(got, want []string) string {
	for i := 0; ; i++ {
		switch {
		case i == len(got) && i == len(want):
			return ""
		case i == len(got) || i < len(want) && want[i] < got[i]:
			return "there is no " + want[i]
		case i == len(want) || got[i] < want[i]:
			return "there is " + got[i]
		}
	}
}
