package mongo

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// FuzzDocuments reads any valid document as each kind of document of the database.
func FuzzDocuments(f *testing.F) {
	for _, d := range []bson.D{
		{},
		{{Key: "epoch", Value: int64(3)}, {Key: "log_id", Value: "id"}, {Key: "position", Value: int64(7)}, {Key: "log_time_ns", Value: int64(8)}, {Key: "events", Value: int64(9)}, {Key: "rejected", Value: int64(0)}},
		{{Key: "_id", Value: bson.Binary{Data: []byte{1}}}, {Key: "holder_id", Value: "a"}, {Key: "token_id", Value: "b"}, {Key: "kind", Value: "hold"}, {Key: "position", Value: int64(1)}, {Key: "logged_ns", Value: int64(1)}, {Key: "weight_exact", Value: "1.5"}},
	} {
		raw, err := bson.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		raw := bson.Raw(data)
		if raw.Validate() == nil { // the driver has checked what a server sent
			_, _, _ = parseCheckpoint(raw)
			_, _, _ = parseFactDocument(raw, 0)
		}
		_, _ = parseCarried(data)
	})
}
