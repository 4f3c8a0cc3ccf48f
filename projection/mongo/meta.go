package mongo

import (
	"context"
	"errors"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/projection"
)

// metaDocument has all fixed values, so that they are fixed together or not at
// all. Its revision grows with every change.
type metaDocument struct {
	Revision int64       `bson:"revision"`
	Values   []metaValue `bson:"values"`
}

type metaValue struct {
	Name  string `bson:"name"`
	Value string `bson:"value"`
}

func (m *metaDocument) values() map[string]string {
	values := make(map[string]string, len(m.Values))
	for _, v := range m.Values {
		values[v.Name] = v.Value
	}
	return values
}

// readMeta reads the fixed values; a database without any has the zero document.
func readMeta(ctx context.Context, meta *driver.Collection) (m metaDocument, err error) {
	err = meta.FindOne(ctx, bson.D{{Key: "_id", Value: metaID}}).Decode(&m) // Plan: IXSCAN of _id.
	if errors.Is(err, driver.ErrNoDocuments) {
		return metaDocument{}, nil
	}
	return m, err
}

// Meta reads the fixed values.
func (s *Store) Meta(ctx context.Context) (map[string]string, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var values map[string]string
	err = s.try(ctx, "read what is fixed", func(ctx context.Context) error {
		m, err := readMeta(ctx, s.meta)
		values = m.values()
		return err
	})
	return values, err
}

// SetMeta fixes values.
func (s *Store) SetMeta(ctx context.Context, values map[string]string) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return s.try(ctx, "fix values", func(ctx context.Context) error { return setMeta(ctx, s.meta, values) })
}

// setMeta adds the values that are not fixed yet. A value that is fixed as another
// is a *projection.MetaError.
func setMeta(ctx context.Context, meta *driver.Collection, values map[string]string) error {
	m, err := readMeta(ctx, meta)
	if err != nil {
		return err
	}
	stored := m.values()
	added := bson.A{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		wanted := values[name]
		there, ok := stored[name]
		switch {
		case !ok:
			added = append(added, metaValue{name, wanted})
		case there != wanted:
			return &projection.MetaError{Name: name, Stored: there, Wanted: wanted}
		}
	}
	if len(added) == 0 {
		return nil
	}
	// Plan: IXSCAN of _id. Every change to the document changes its revision. If it
	// changed since it was read, this update tries to insert it and meets E11000.
	_, err = meta.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: metaID}, {Key: "revision", Value: m.Revision}},
		bson.D{
			{Key: "$push", Value: bson.D{{Key: "values", Value: bson.D{{Key: "$each", Value: added}}}}},
			{Key: "$inc", Value: bson.D{{Key: "revision", Value: int64(1)}}},
		},
		options.UpdateOne().SetUpsert(true))
	if driver.IsDuplicateKeyError(err) {
		return errRaced
	}
	return err
}
