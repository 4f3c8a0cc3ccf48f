package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"holdmetrics/projection"
)

// Bounds of one bulk write, so that a server is never busy with one for long and
// a retry repeats little.
const (
	bulkDocuments = 1000
	bulkBytes     = 4 << 20
	// bulksAtOnce is how many of a flush are on their way: a majority's answer takes
	// as long for one as for several.
	bulksAtOnce = 4
)

const codeDuplicate = 11000

// Flush writes facts, then figures, then the checkpoint, before which nothing of
// it can be seen. Facts that what it sealed stands for are left to RemoveSealed.
//
// A batch of an epoch and a position that were written already is taken for the same
// one, but for what it sealed: pairs can be sealed without an event.
func (s *Store) Flush(ctx context.Context, b *projection.Batch) error {
	leave, err := s.enterPartition(ctx, b.Partition)
	if err != nil {
		return err
	}
	defer leave()
	if _, err := toInt64("position", b.Checkpoint.Position); err != nil {
		return err
	}
	if _, err := toInt64("epoch", b.Checkpoint.Epoch); err != nil {
		return err
	}
	part := s.partition(b.Partition)
	part.flush.Lock()
	defer part.flush.Unlock()
	where := atOf(b.Checkpoint)
	if err := s.mayFlush(ctx, part, b.Partition, where.epoch); err != nil {
		return err
	}
	if err := s.writeFacts(ctx, b); err != nil {
		return err
	}
	if err := s.noteSealed(ctx, b, where); err != nil {
		return err
	}
	if err := s.writeFigures(ctx, b, where); err != nil {
		return err
	}
	if err := s.writeCheckpoint(ctx, b.Partition, &b.Checkpoint); err != nil {
		return err
	}
	part.own(b.Checkpoint, true)
	return nil
}

// writeFacts inserts the facts that are not there.
func (s *Store) writeFacts(ctx context.Context, b *projection.Batch) error {
	what := fmt.Sprintf("insert facts of partition %d", b.Partition)
	bulks := startBulks(ctx, &s.inflight)
	var (
		models []driver.WriteModel
		bytes  int
	)
	send := func() {
		sent := models
		bulks.start(func(ctx context.Context) error {
			return s.try(ctx, what, func(ctx context.Context) error {
				_, err := splitDuplicates(s.bulk(ctx, s.events, sent))
				return err
			})
		})
		models, bytes = nil, 0
	}
	for i := range b.Pairs {
		c := &b.Pairs[i]
		for j := range c.Facts {
			models = append(models, driver.NewInsertOneModel().SetDocument(factDocument(b.Partition, c.Key, &c.Facts[j])))
			bytes += 512 + len(c.Key.Holder) + len(c.Key.Token) + len(c.Facts[j].HoldID)
			if len(models) == bulkDocuments || bytes >= bulkBytes {
				send()
			}
		}
	}
	if len(models) > 0 {
		send()
	}
	return bulks.wait()
}

// bulks are bulk writes on their way. The first that fails ends the others.
type bulks struct {
	inflight *inflight
	group    *errgroup.Group
	outer    context.Context
	ctx      context.Context // of the group: ends with the first error, and with wait
}

func startBulks(ctx context.Context, r *inflight) *bulks {
	b := &bulks{inflight: r, outer: ctx}
	b.group, b.ctx = errgroup.WithContext(ctx)
	b.group.SetLimit(bulksAtOnce)
	return b
}

// start waits until one more is allowed, and does nothing once one has failed.
func (b *bulks) start(write func(context.Context) error) {
	if b.ctx.Err() == nil {
		b.group.Go(func() error {
			if err := b.inflight.take(b.ctx); err != nil {
				return err
			}
			defer b.inflight.leave()
			return write(b.ctx)
		})
	}
}

func (b *bulks) wait() error {
	if err := b.group.Wait(); err != nil {
		return err
	}
	return b.outer.Err() // one that ended before anything was started
}

func (s *Store) bulk(ctx context.Context, c *driver.Collection, models []driver.WriteModel) error {
	began := time.Now()
	_, err := c.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	s.inflight.answered(began, time.Now(), err)
	return err
}

// splitDuplicates takes the places of E11000 out of a bulk write's error, and
// gives what else went wrong.
func splitDuplicates(err error) (duplicates []int, other error) {
	var exception driver.BulkWriteException
	if !errors.As(err, &exception) {
		return nil, err
	}
	rest := exception
	rest.WriteErrors = nil
	for _, e := range exception.WriteErrors {
		if e.Code == codeDuplicate {
			duplicates = append(duplicates, e.Index)
		} else {
			rest.WriteErrors = append(rest.WriteErrors, e)
		}
	}
	if len(rest.WriteErrors) > 0 || rest.WriteConcernError != nil {
		return duplicates, rest
	}
	return duplicates, nil
}

// writeFigures writes pairs and holders.
func (s *Store) writeFigures(ctx context.Context, b *projection.Batch, where at) error {
	prefix := partitionPrefix(b.Partition)
	bulks := startBulks(ctx, &s.inflight)
	pairs := guarded{store: s, collection: s.pairs, partition: b.Partition, where: where, bulks: bulks}
	for i := range b.Pairs {
		pairs.add(pairDocument(prefix, b.Partition, where, &b.Pairs[i]))
	}
	pairs.send()
	stats := guarded{store: s, collection: s.stats, partition: b.Partition, where: where, bulks: bulks}
	for i := range b.Holders {
		stats.add(holderDocument(prefix, b.Partition, where, &b.Holders[i]))
	}
	stats.send()
	return bulks.wait()
}

// guarded writes records in bulk, each only over an older one.
type guarded struct {
	store      *Store
	collection *driver.Collection
	partition  int
	where      at
	bulks      *bulks

	records []record
	bytes   int
}

func (g *guarded) add(r record) {
	g.records = append(g.records, r)
	g.bytes += r.bytes
	if len(g.records) == bulkDocuments || g.bytes >= bulkBytes {
		g.send()
	}
}

func (g *guarded) send() {
	left := g.records
	g.records, g.bytes = nil, 0
	if len(left) == 0 {
		return
	}
	what := fmt.Sprintf("write %s of partition %d", g.collection.Name(), g.partition)
	g.bulks.start(func(ctx context.Context) error {
		return g.store.try(ctx, what, func(ctx context.Context) (err error) {
			left, err = g.write(ctx, left)
			return err
		})
	})
}

// write gives the records that are to be tried again, and why.
func (g *guarded) write(ctx context.Context, records []record) ([]record, error) {
	models := make([]driver.WriteModel, len(records))
	for i := range records {
		// Plan: IXSCAN of _id.
		models[i] = driver.NewUpdateOneModel().SetUpsert(true).
			SetFilter(guard(records[i].id, g.where)).SetUpdate(records[i].update(g.where))
	}
	refused, err := splitDuplicates(g.store.bulk(ctx, g.collection, models))
	if err != nil {
		return records, err
	}
	if len(refused) == 0 {
		return nil, nil
	}
	met := make([]record, len(refused))
	for i, place := range refused {
		met[i] = records[place]
	}
	return g.settle(ctx, met)
}

// settle reads what stood in the way of records and decides.
func (g *guarded) settle(ctx context.Context, met []record) ([]record, error) {
	ids := make(bson.A, len(met))
	for i := range met {
		ids[i] = met[i].id
	}
	// Plan: IXSCAN of _id.
	cursor, err := g.collection.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}},
		options.Find().SetProjection(bson.D{{Key: "facts", Value: 0}}))
	if err != nil {
		return met, err
	}
	defer closeCursor(cursor)
	stored := map[string]bson.Raw{}
	for cursor.Next(ctx) {
		id, _ := cursor.Current.Lookup("_id").StringValueOK()
		stored[id] = append(bson.Raw(nil), cursor.Current...)
	}
	if err := cursor.Err(); err != nil {
		return met, err
	}
	var (
		again []record
		late  []driver.WriteModel
	)
	for i := range met {
		r := &met[i]
		raw, ok := stored[r.id]
		if !ok {
			again = append(again, *r)
			continue
		}
		d := fields{raw: raw}
		there := at{d.int64("written"), d.int64("epoch")}
		written := d.has(g.where)
		switch {
		case d.err != nil:
			return met, corrupt(g.collection.Name(), r.id, d.err)
		case there.epoch > g.where.epoch:
			return met, fenced(g.partition, there.epoch, g.where.epoch)
		case written && r.sealed != nil && !d.hasSealed(r.sealed, g.where.position):
			late = append(late, driver.NewUpdateOneModel().
				SetFilter(bson.D{{Key: "_id", Value: r.id}, {Key: "epoch", Value: g.where.epoch}}).
				SetUpdate(bson.D{{Key: "$push", Value: bson.D{{Key: "sealed", Value: sealedVersion(g.where, r.sealed)}}}}))
		case written: // an answer was lost
		case there.epoch == g.where.epoch && there.position >= g.where.position:
			// An owner that began again in its epoch left something newer than its
			// checkpoint. It stays in front; this flush is a version beside it.
			late = append(late, driver.NewUpdateOneModel().
				SetFilter(bson.D{{Key: "_id", Value: r.id}, {Key: "epoch", Value: g.where.epoch}}).
				SetUpdate(bson.D{{Key: "$push", Value: r.push}}))
		default:
			again = append(again, *r)
		}
	}
	if len(late) > 0 {
		if err := g.store.bulk(ctx, g.collection, late); err != nil {
			return met, err
		}
	}
	if len(again) > 0 {
		return again, errRaced
	}
	return nil, nil
}

// has reports whether a flush has written its version.
func (d *fields) has(where at) bool {
	for _, value := range d.optionalArray("versions") {
		raw, ok := value.DocumentOK()
		if !ok {
			d.fail("versions", errType)
			return false
		}
		v := fields{raw: raw}
		if (at{v.int64("position"), v.int64("epoch")}) == where && v.err == nil {
			return true
		}
	}
	return false
}
