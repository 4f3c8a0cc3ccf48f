package query

import (
	"encoding/base64"
	"errors"
	"testing"
)

// FuzzParseCursor reads any text as the cursor of a ranking, as it comes with a request.
// One that is taken is written as one that is taken again.
func FuzzParseCursor(f *testing.F) {
	for _, seed := range []string{"", "e30", base64.RawURLEncoding.EncodeToString([]byte(`{"g":"1","p":1,"o":2,"s":"3.5","h":"alice"}`)), "%%%"} {
		for _, by := range []RankBy{ByLive, BySettled} {
			f.Add(seed, string(by), "")
		}
	}
	f.Fuzz(func(t *testing.T, text, by, token string) {
		q := &TopQuery{By: RankBy(by), Token: token}
		c, err := parseCursor(text, q)
		if err != nil {
			if !errors.Is(err, ErrCursor) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		again, err := parseCursor(c.String(), q)
		if err != nil || again != c {
			t.Fatalf("%+v is read as %+v: %v", c, again, err)
		}
	})
}
