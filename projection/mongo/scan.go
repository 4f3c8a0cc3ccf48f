package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// scanBatch is how many documents come at once, unless a query says otherwise.
const scanBatch = 1000

// scan calls fn for each document that is found; raw is valid until fn returns.
// Each round trip has OperationTimeout.
func (c *caller) scan(ctx context.Context, from *driver.Collection, filter any, o *options.FindOptionsBuilder, fn func(raw bson.Raw) error) error {
	var cursor *driver.Cursor
	err := c.once(ctx, func(ctx context.Context) (err error) {
		cursor, err = from.Find(ctx, filter, options.Find().SetBatchSize(scanBatch), o)
		return err
	})
	if err != nil {
		return err
	}
	defer closeCursor(cursor)
	next := func() bool {
		if cursor.RemainingBatchLength() > 0 {
			return cursor.Next(ctx)
		}
		more := false
		_ = c.once(ctx, func(ctx context.Context) error {
			more = cursor.Next(ctx)
			return nil
		})
		return more
	}
	for next() {
		if err := fn(cursor.Current); err != nil {
			return err
		}
	}
	return cursor.Err()
}

// closeCursor tells the server that no more is wanted of a cursor. It does not
// matter if that fails: in time it closes the cursor by itself.
func closeCursor(cursor *driver.Cursor) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = cursor.Close(ctx)
}

// stopped is an error of a callback, which ends a walk as it is.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }

// walk calls fn for the documents of a range of _ids, by _id. Where the server
// goes away it goes on behind the last document that fn has had. An error of fn
// that is a *stopped ends the walk with what it wraps.
//
// Plan: IXSCAN of _id, in its order, then FETCH with what further says; where hint
// is given, IXSCAN of that index, then SORT.
func (c *caller) walk(ctx context.Context, what string, in *driver.Collection, from, to string, further bson.D, find func() *options.FindOptionsBuilder, fn func(id string, raw bson.Raw) error) error {
	p := c.patience(what)
	lower := bson.E{Key: "$gte", Value: from}
	for {
		filter := append(bson.D{{Key: "_id", Value: bson.D{lower, {Key: "$lt", Value: to}}}}, further...)
		o := find().SetSort(bson.D{{Key: "_id", Value: 1}})
		err := c.scan(ctx, in, filter, o, func(raw bson.Raw) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			id, ok := raw.Lookup("_id").StringValueOK()
			if !ok {
				return corrupt(in.Name(), raw.Lookup("_id"), errID)
			}
			if err := fn(id, raw); err != nil {
				return err
			}
			lower = bson.E{Key: "$gt", Value: id}
			p.succeeded()
			return nil
		})
		if err == nil {
			return nil
		}
		var end *stopped
		if errors.As(err, &end) {
			return end.err
		}
		if err := p.wait(ctx, err); err != nil {
			return err
		}
	}
}
