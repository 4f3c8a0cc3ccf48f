package mongo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/holiman/uint256"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"pgregory.net/rapid"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// drawFact is any fact that an accepted event can say.
func drawFact(t *rapid.T) hold.Fact {
	f := hold.Fact{Kind: rapid.SampledFrom([]hold.Kind{hold.KindHold, hold.KindStop, hold.KindRetractHold, hold.KindRetractStop}).Draw(t, "kind")}
	instant := rapid.Int64Range(1, hold.MaxTime)
	if f.HoldID = rapid.StringMatching(`[a-z é\x{10ffff}]{0,5}`).Draw(t, "hold_id"); f.HoldID != "" {
		f.Revision = rapid.Uint64().Draw(t, "revision")
	}
	switch {
	case f.Kind == hold.KindStop || f.Kind == hold.KindRetractStop:
		f.End = instant.Draw(t, "end")
		return f
	case f.Kind == hold.KindRetractHold && f.HoldID != "":
		return f
	}
	f.Start = instant.Draw(t, "start")
	if rapid.Bool().Draw(t, "ended") {
		f.End = rapid.Int64Range(f.Start, hold.MaxTime).Draw(t, "end")
	}
	if f.HasWeight = rapid.Bool().Draw(t, "has weight"); f.HasWeight {
		units := new(uint256.Int).Mul(uint256.NewInt(rapid.Uint64().Draw(t, "high")), uint256.NewInt(rapid.Uint64().Draw(t, "low")))
		f.Weight = hold.Weight(*units)
	}
	return f
}

var drawID = rapid.StringMatching(`[a-z é/.$\x{10ffff}]{1,6}`)

func TestFactDocument(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := projection.PairKey{Holder: drawID.Draw(t, "holder"), Token: drawID.Draw(t, "token")}
		want := projection.LoggedFact{
			Fact: drawFact(t), Position: rapid.Uint64Range(0, math.MaxInt64).Draw(t, "position"), LogTime: rapid.Int64().Draw(t, "log time"),
		}
		raw, err := bson.Marshal(factDocument(9, key, &want))
		if err != nil {
			t.Fatal(err)
		}
		gotKey, got, err := parseFactDocument(raw, 9)
		if err != nil || gotKey != key || got != want {
			t.Fatalf("read back: %v, %+v, %v, want %v, %+v", gotKey, got, err, key, want)
		}
		if _, _, err := parseFactDocument(raw, 8); !errors.Is(err, projection.ErrCorrupt) {
			t.Fatalf("as a fact of another partition: %v, want ErrCorrupt", err)
		}
		other := want.Fact
		other.Revision++
		if a, b := factID(9, key, &want.Fact), factID(9, key, &other); len(a.Data) != 32 || want.HoldID != "" && bytes.Equal(a.Data, b.Data) {
			t.Fatalf("ids %x and %x", a.Data, b.Data)
		}
		carriedBack, err := parseCarried(carried(&want).Data)
		if err != nil || carriedBack != want {
			t.Fatalf("carried: %+v, %v, want %+v", carriedBack, err, want)
		}
	})
}

// Pairs are stored in the order of their keys: MongoDB compares strings by bytes.
func TestPairIDOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) projection.PairKey {
			return projection.PairKey{Holder: drawID.Draw(t, name+" holder"), Token: drawID.Draw(t, name+" token")}
		}
		a, b := draw("a"), draw("b")
		prefix := partitionPrefix(3)
		x, y := pairID(prefix, a), pairID(prefix, b)
		if strings.Compare(x, y) != a.Compare(b) {
			t.Fatalf("%q and %q are in another order than %v and %v", x, y, a, b)
		}
		if k, err := pairKeyOf(x); err != nil || k != a {
			t.Fatalf("%q is read back as %v, %v", x, k, err)
		}
		if h, err := holderOf(holderID(prefix, a.Holder)); err != nil || h != a.Holder {
			t.Fatalf("holder %q is read back as %q, %v", a.Holder, h, err)
		}
		inHolder := holderID(prefix, a.Holder)+separator <= y && y < holderID(prefix, a.Holder)+afterPrefix
		if inHolder != (a.Holder == b.Holder) {
			t.Fatalf("%q is in the range of holder %q: %v", y, a.Holder, inHolder)
		}
	})
}

func TestScoreKeyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var a, b hold.Score
		for i := range a {
			limb := rapid.SampledFrom([]uint64{0, 1, 255, 256, 1 << 63, math.MaxUint64})
			a[i], b[i] = limb.Draw(t, "a"), limb.Draw(t, "b")
		}
		if bytes.Compare(scoreKey(a).Data, scoreKey(b).Data) != a.Cmp(b) {
			t.Fatalf("keys of %v and %v are in another order", a, b)
		}
	})
}

// The pipeline that people know, on what people can read, gives the `sum` score to
// the precision of milliseconds and doubles.
func TestClassicPipeline(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	defer s.Close()
	o := newOwner(4, 1)
	weight := func(text string) hold.Weight {
		w, err := hold.ParseWeight(text)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for i := range int64(400) {
		f := ended(i, i+1+i%13)
		f.End += i % 1000 * 1e6
		if i%3 > 0 {
			f.Weight, f.HasWeight = weight(fmt.Sprintf("%d.%03d", i%50, i)), true
		}
		o.add(fmt.Sprint("holder-", i%7), fmt.Sprint("token-", i%3), f)
	}
	big := ended(1, 100_000)
	big.Weight, big.HasWeight = weight("123456789012345678901234567890.123456789012345678"), true
	o.add("whale", "token-0", big)
	o.add("whale", "token-1", opening(5)) // it has no end yet, so it does not count
	o.flush(t, s)

	pipeline := bson.A{
		bson.D{{Key: "$match", Value: bson.D{{Key: "end", Value: bson.D{{Key: "$ne", Value: nil}}}}}},
		bson.D{{Key: "$project", Value: bson.D{
			{Key: "holder_id", Value: 1}, {Key: "weight", Value: 1},
			{Key: "duration", Value: bson.D{{Key: "$subtract", Value: bson.A{"$end", "$start"}}}},
		}}},
		bson.D{{Key: "$group", Value: bson.D{
			{Key: "_id", Value: "$holder_id"},
			{Key: "score", Value: bson.D{{Key: "$sum", Value: bson.D{{Key: "$multiply", Value: bson.A{"$weight", bson.D{{Key: "$divide", Value: bson.A{"$duration", 1000}}}}}}}}},
		}}},
		bson.D{{Key: "$sort", Value: bson.D{{Key: "score", Value: -1}}}},
	}
	inspect(t, s.config.Database, func(ctx context.Context, db *driver.Database) error {
		cursor, err := db.Collection(eventsName).Aggregate(ctx, pipeline)
		if err != nil {
			return err
		}
		var rows []struct {
			ID    string  `bson:"_id"`
			Score float64 `bson:"score"`
		}
		if err := cursor.All(ctx, &rows); err != nil {
			return err
		}
		if len(rows) != 8 || rows[0].ID != "whale" {
			t.Errorf("%d rows: %v, want 8, the whale's first", len(rows), rows)
		}
		for _, row := range rows {
			h := o.holder(row.ID)
			want := h.Figures.Settled.Score.Float64()
			if math.Abs(row.Score-want) > 1e-12*want {
				t.Errorf("holder %s scores %v by the pipeline, %v exactly", row.ID, row.Score, h.Figures.Settled.Score)
			}
		}
		return nil
	})
}

// hold_stats ranks exactly where doubles cannot.
func TestRanks(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	defer s.Close()
	o := newOwner(0, 1)
	for i, text := range []string{"9007199254740993", "9007199254740992", "9007199254740994", "0", "0.000000000000000001"} {
		w, err := hold.ParseWeight(text)
		if err != nil {
			t.Fatal(err)
		}
		f := ended(0, 1)
		f.Weight, f.HasWeight = w, true
		o.add(fmt.Sprint("holder-", i), "t", f)
	}
	o.flush(t, s)
	inspect(t, s.config.Database, func(ctx context.Context, db *driver.Database) error {
		cursor, err := db.Collection(statsName).Find(ctx, bson.D{})
		if err != nil {
			return err
		}
		var rows []struct {
			Holder string      `bson:"holder_id"`
			Exact  string      `bson:"score_exact"`
			Key    bson.Binary `bson:"score_key"`
		}
		if err := cursor.All(ctx, &rows); err != nil {
			return err
		}
		for _, a := range rows {
			for _, b := range rows {
				x, y := o.holder(a.Holder).Figures.Settled.Score, o.holder(b.Holder).Figures.Settled.Score
				if got := bytes.Compare(a.Key.Data, b.Key.Data); got != x.Cmp(y) || a.Exact != x.String() || cmp.Compare(len(a.Key.Data), len(b.Key.Data)) != 0 {
					t.Errorf("%s beside %s: %d by key, %d exactly", a.Exact, b.Exact, got, x.Cmp(y))
				}
			}
		}
		return nil
	})
}
