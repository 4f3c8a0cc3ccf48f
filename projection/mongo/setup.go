package mongo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/projection"
)

const (
	formatID = "format"
	metaID   = "meta"
	// format changes when documents change so that an older program misreads them.
	format = int64(1)
	// sealedFormat is that of a database of which something was sealed: who does not
	// know of it would take facts for missing, and count too little.
	sealedFormat = int64(2)
)

// Names of the indexes.
const (
	byPair     = "by_pair"
	byScore    = "by_score"
	byPosition = "by_position"
)

// databaseFormat knows by which format the database is ours, and makes what the store
// needs in it.
type databaseFormat struct {
	*caller
	collections
	database string
	raised   atomic.Bool // the format is that of a database with something sealed
}

// setUp makes what is not there. All of it may be done by several processes at once.
func (f *databaseFormat) setUp(ctx context.Context) error {
	p := f.patience("open database " + f.database)
	p.most = -1
	if err := f.tryWith(ctx, p, f.check); err != nil {
		return err
	}
	for _, c := range []struct {
		collection *driver.Collection
		indexes    []driver.IndexModel
	}{
		{f.events, []driver.IndexModel{
			// Facts of a pair: those of large pairs when they are loaded, those of a
			// holder in mongosh.
			index(byPair, "holder_id", 1, "token_id", 1, "position", 1),
		}},
		{f.stats, []driver.IndexModel{
			// Ranks, in exact order: score_key is the settled score as bytes.
			index(byScore, "score_key", -1, "holder_id", 1),
			// What has changed since a position.
			index(byPosition, "partition", 1, "position", 1),
		}},
	} {
		err := f.tryWith(ctx, p, func(ctx context.Context) error {
			_, err := c.collection.Indexes().CreateMany(ctx, c.indexes)
			return err
		})
		if err != nil {
			return err
		}
	}
	// hold_pairs, hold_sealed, checkpoints and hold_meta are read by _id alone, or by a range of it.
	return nil
}

func index(name string, keys ...any) driver.IndexModel {
	var d bson.D
	for i := 0; i < len(keys); i += 2 {
		d = append(d, bson.E{Key: keys[i].(string), Value: keys[i+1]})
	}
	return driver.IndexModel{Keys: d, Options: options.Index().SetName(name)}
}

// check sees to it that the database is ours, or becomes it while it has
// nothing under our names.
func (f *databaseFormat) check(ctx context.Context) error {
	found, err := f.read(ctx)
	if found || err != nil {
		return err
	}
	for _, c := range []*driver.Collection{f.events, f.pairs, f.stats, f.sealed, f.checkpoints} {
		// Plan: COLLSCAN that ends with the first document.
		err := c.FindOne(ctx, bson.D{}, options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err()
		if errors.Is(err, driver.ErrNoDocuments) {
			continue
		}
		if err != nil {
			return err
		}
		// Another process may have made the store and begun to fill it meanwhile.
		if found, err := f.read(ctx); found || err != nil {
			return err
		}
		return fmt.Errorf("%w: database %s has documents in %s that this program did not make; choose another MONGODB_DB",
			projection.ErrForeign, f.database, c.Name())
	}
	_, err = f.meta.UpdateOne(ctx, bson.D{{Key: "_id", Value: formatID}},
		bson.D{{Key: "$setOnInsert", Value: bson.D{{Key: "format", Value: format}, {Key: "made_by", Value: "holdmetrics"}}}},
		options.UpdateOne().SetUpsert(true))
	if driver.IsDuplicateKeyError(err) {
		return nil // somebody else was quicker
	}
	return err
}

// read reports whether the database is a store of ours.
func (f *databaseFormat) read(ctx context.Context) (bool, error) {
	var stored struct {
		Format int64 `bson:"format"`
	}
	err := f.meta.FindOne(ctx, bson.D{{Key: "_id", Value: formatID}}).Decode(&stored) // Plan: IXSCAN of _id.
	switch {
	case errors.Is(err, driver.ErrNoDocuments):
		return false, nil
	case err != nil:
		return false, err
	case stored.Format != format && stored.Format != sealedFormat:
		return false, fmt.Errorf("%w: database %s has format %d, this program reads up to %d; use the program that made it, or another MONGODB_DB",
			projection.ErrForeign, f.database, stored.Format, sealedFormat)
	}
	return true, nil
}

// raise sees to it that no older program takes what was sealed for missing.
func (f *databaseFormat) raise(ctx context.Context) error {
	if f.raised.Load() {
		return nil
	}
	return f.try(ctx, "note that the database has what was sealed", func(ctx context.Context) error {
		// Plan: IXSCAN of _id.
		_, err := f.meta.UpdateOne(ctx, bson.D{{Key: "_id", Value: formatID}, {Key: "format", Value: format}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "format", Value: sealedFormat}}}})
		if err == nil {
			f.raised.Store(true)
		}
		return err
	})
}
