package query

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdmetrics/gateway/gatewaytest/fakes"
	holdpb "holdmetrics/proto"
)

// millionBoard is a board of a million holders, a third of whom hold something.
func millionBoard(b *testing.B) *board {
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([]*rankRow, 1_000_000)
	for i := range rows {
		score := fmt.Sprintf("%d.%09d", random.IntN(1e6), random.IntN(1e9))
		s := &holdpb.HoldStat{HolderId: fmt.Sprintf("0x%040x", i), ScoreExact: score, LiveBase: score, Since: fakes.Seconds(fakes.TestNow/1e9 - int64(random.IntN(1e5)))}
		if i%3 == 0 {
			s.LiveRate = fmt.Sprint(1 + random.IntN(97))
		}
		value, err := proto.Marshal(s)
		if err != nil {
			b.Fatal(err)
		}
		if rows[i], _, err = snapshotRow(s.HolderId, value); err != nil {
			b.Fatal(err)
		}
	}
	board := newBoard(fakes.TestNow)
	board.load(rows)
	return board
}

// BenchmarkRanking measures the parts of a page of a million holders.
func BenchmarkRanking(b *testing.B) {
	board := millionBoard(b)
	state := board.state()
	first, _ := state.tree.GetAt(500_000)
	b.Run("live top 100", func(b *testing.B) {
		for i := range b.N {
			if got := state.liveTop(fakes.TestNow+int64(i)*1e9, nil, 100); len(got) != 100 {
				b.Fatal(len(got))
			}
		}
	})
	b.Run("live rank", func(b *testing.B) {
		for i := range b.N {
			state.liveRank(fakes.TestNow+int64(i)*1e9, first.row)
		}
	})
	b.Run("settled rank", func(b *testing.B) {
		for b.Loop() {
			state.bySettled(first)
		}
	})
	b.Run("set", func(b *testing.B) {
		for i := range b.N {
			it, _ := state.tree.GetAt(i * 7919 % 1_000_000)
			f := it.row.read()
			row := *it.row
			board.set(&row, &f)
		}
	})
}
