package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// lookAgain is the pause between two looks at other processes, which tell of nothing.
const lookAgain = 20 * time.Millisecond

// verdict is what became of the events.
type verdict struct {
	t    *testing.T
	want *truth

	events, again               int // acknowledged; batches that were sent again
	holders, pairs, rows, holds int // compared; rows at every gateway, holds at the first
	differences                 int
}

// judge stops the loads, and wants the store and the snapshots of each gateway to
// say what a fold of the acknowledged events says.
func judge(t *testing.T, policy hold.Policy, loads []*load, addresses ...string) *verdict {
	t.Helper()
	v, began := &verdict{t: t, want: newTruth(policy)}, time.Now()
	for _, l := range loads {
		acked, again := l.finish()
		v.events, v.again = v.events+len(acked), v.again+again
		for _, m := range acked {
			v.want.add(t, m)
		}
	}
	t.Logf("%d events are acknowledged and folded after %s", v.events, ms(time.Since(began)))
	v.pairs, v.holders = len(v.want.pairs), len(v.want.holders())
	for i, address := range addresses {
		conn := dial(t, address)
		began := time.Now()
		settle(t, conn)
		settled := time.Since(began)
		v.scores(conn)
		if i == 0 {
			v.effective(conn)
		}
		v.snapshots(conn)
		t.Logf("the gateway at %s had everything after %s; it was compared in %s", address, ms(settled), ms(time.Since(began)-settled))
	}
	return v
}

// passing reports whether a read may go well the next time: what was disturbed last
// is on its way back.
func passing(err error) bool {
	code := status.Code(err)
	return code == codes.DeadlineExceeded || code == codes.Unavailable
}

// read reads until it goes well.
func (v *verdict) read(what string, try func(ctx context.Context) error) {
	v.t.Helper()
	for began := time.Now(); ; {
		ctx, cancel := context.WithTimeout(v.t.Context(), patience)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		if !passing(err) || time.Since(began) > patience {
			v.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(lookAgain)
	}
}

// behind is an instant behind all events.
func behind() int64 { return time.Now().AddDate(10, 0, 0).UnixNano() }

// scores compares the figures of all pairs as of instants within and behind the events.
func (v *verdict) scores(conn *grpc.ClientConn) {
	v.t.Helper()
	for _, at := range []int64{behind(), (firstDay + 3600*100) * 1e9, (firstDay+3600*24*11)*1e9 + 1} {
		var got []string
		v.read("reading the scores", func(ctx context.Context) error {
			got = got[:0]
			stream, err := holdpb.NewHoldMetricsQueryClient(conn).Scores(ctx, &holdpb.ScoresRequest{AsOf: timestamppb.New(time.Unix(0, at)), ByToken: true, Projected: true}, grpc.WaitForReady(true))
			return each(stream, err, func(s *holdpb.Score) {
				got = append(got, row(pairName{s.TokenId, s.HolderId}, s.Score, s.HeldSeconds, s.SettledScore, s.SettledHeldSeconds))
			})
		})
		slices.Sort(got)
		v.rows += len(got)
		v.differ("figures in the store", got, v.want.rows(at))
	}
}

// effective compares the holds of all pairs of some holders. To read one pair takes
// the database of the tests a look at every fact that there is.
func (v *verdict) effective(conn *grpc.ClientConn) {
	v.t.Helper()
	const some = 4
	at := behind()
	var got, want []string
	all := v.want.holders()
	for i := range some {
		holder := all[(int(*seed%uint64(len(all)))+i*len(all)/some)%len(all)]
		want = append(want, v.want.effective(holder)...)
		from := len(got)
		v.read("reading the holds of "+holder, func(ctx context.Context) error {
			got = got[:from]
			stream, err := holdpb.NewHoldMetricsQueryClient(conn).Explain(ctx, &holdpb.ExplainRequest{HolderId: holder, AsOf: timestamppb.New(time.Unix(0, at)), Projected: true}, grpc.WaitForReady(true))
			return each(stream, err, func(c *holdpb.Contribution) {
				var end int64
				if c.End != nil {
					end = c.End.AsTime().UnixNano()
				}
				got = append(got, row(pairName{c.TokenId, holder}, fmt.Sprint(c.Start.AsTime().UnixNano()), fmt.Sprint(end), c.Weight, c.HoldId))
			})
		})
	}
	slices.Sort(got)
	slices.Sort(want)
	v.holds += len(got)
	v.differ("holds in the store", got, want)
}

// each reads a stream to its end.
func each[T any](stream grpc.ServerStreamingClient[T], err error, fn func(*T)) error {
	for err == nil {
		var m *T
		if m, err = stream.Recv(); err == nil {
			fn(m)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// snapshots compares the snapshots of all holders. A gateway follows the bucket at a
// distance.
func (v *verdict) snapshots(conn *grpc.ClientConn) {
	v.t.Helper()
	at := behind()
	want := v.want.snapshots(v.t, at)
	for began := time.Now(); ; {
		got := map[string]string{}
		v.read("reading the snapshots", func(ctx context.Context) error {
			clear(got)
			return snapshots(ctx, holdpb.NewHoldMetricsClient(conn), func(s *holdpb.HoldStat) { got[s.HolderId] = figuresOf(v.t, s, at) })
		})
		if maps.Equal(got, want) {
			return
		}
		if time.Since(began) > patience {
			flat := func(m map[string]string) (lines []string) {
				for holder, line := range m {
					lines = append(lines, holder+": "+line)
				}
				slices.Sort(lines)
				return lines
			}
			v.differ("snapshots", flat(got), flat(want))
			return
		}
		time.Sleep(lookAgain)
	}
}

// differ counts and tells the lines that are not as they should be.
func (v *verdict) differ(what string, got, want []string) {
	v.t.Helper()
	reported := 0
	tell := func(format string, args ...any) {
		v.t.Helper()
		v.differences++
		if reported++; reported <= 5 {
			v.t.Errorf(format, args...)
		}
	}
	for len(got) > 0 || len(want) > 0 {
		switch {
		case len(want) == 0 || len(got) > 0 && got[0] < want[0]:
			tell("%s: there is %s", what, got[0])
			got = got[1:]
		case len(got) == 0 || want[0] < got[0]:
			tell("%s: there is no %s", what, want[0])
			want = want[1:]
		default:
			got, want = got[1:], want[1:]
		}
	}
	if reported > 5 {
		v.t.Errorf("%s: %d differences", what, reported)
	}
}
