package projection

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	holdpb "holdmetrics/proto"
)

// FuzzReadSnapshot reads any bytes as a snapshot, as another client of NATS may have
// written them. Where both ways to read one succeed, they agree.
func FuzzReadSnapshot(f *testing.F) {
	whole, err := proto.Marshal(&holdpb.HoldStat{HolderId: "alice", TotalSeconds: 5, ScoreExact: "1.5", HeldExact: "5", LiveBase: "1", LiveRate: "2"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{0x0a, 0xff})
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadSnapshot(data)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		var whole holdpb.HoldStat
		if proto.Unmarshal(data, &whole) == nil && (whole.GetHolderId() != string(s.Holder) || whole.GetPosition() != s.Position) {
			t.Fatalf("holder %q at %d is read as %q at %d", whole.GetHolderId(), whole.GetPosition(), s.Holder, s.Position)
		}
	})
}

// FuzzParseReached reads any value of a position key.
func FuzzParseReached(f *testing.F) {
	for _, seed := range []string{"", "7", "7 9", "7 -9", "18446744073709551615 1", "7 ", " 7"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseReached(data)
		if err != nil {
			return
		}
		if again, err := parseReached(r.append(nil)); err != nil || again != r {
			t.Fatalf("%+v is read as %+v: %v", r, again, err)
		}
	})
}
