package app

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
	"holdmetrics/projection/mongo"
)

// firstRecord is what the first generation is made of; r may be nil.
func firstRecord(policy hold.Policy, r *rules.Rules) generation.Record {
	g := generation.Record{Name: generation.First, Policy: policy.String(), Version: hold.NoRulesVersion, Created: time.Now().UTC(), Built: true}
	if r != nil {
		g.Rules, g.Version, g.Policy = r.Text(), r.Version(), r.DefaultPolicy().String()
	}
	return g
}

// warnOfRules says that the rules which the settings name are not those in force.
func warnOfRules(log *zap.Logger, r *rules.Rules, path string, active *generation.Record) {
	if r != nil && r.Version() != active.Version {
		log.Warn("rules file is not in force: run 'holdmetrics rebuild --rules FILE --activate' to change the rules",
			zap.String("file", path), zap.String("rules", r.Version()), zap.String("generation", active.Name), zap.String("rules_in_force", active.Version))
	}
}

// fixMeta fixes in a store what it is made of.
func fixMeta(ctx context.Context, store projection.Store, g *generation.Record, log *ingest.Log) error {
	values := map[string]string{
		projection.MetaPolicy:     g.Policy,
		projection.MetaRules:      g.Version,
		projection.MetaPartitions: strconv.Itoa(log.Partitions()),
		projection.MetaLogID:      log.ID(),
	}
	if g.Name != generation.First {
		// A former one of the same name may have left a store somewhere.
		values[projection.MetaGeneration] = g.Name + " of " + g.Created.UTC().Format(time.RFC3339Nano)
	}
	return projection.FixMeta(ctx, store, values)
}

// embeddedStores are those of one process, in its data directory.
type embeddedStores struct {
	dataDir string
	events  *ingest.Log
	options embedded.Options // with the cache of all generations together
}

// newEmbeddedStores are those in the data directory of a process; close ends what they
// share, once all of them are closed.
func newEmbeddedStores(p *process) (s *embeddedStores, close func() error) {
	o := embedded.Options{
		CacheBytes: p.memory.blocks, MemTableBytes: uint64(p.memory.memTable),
		OpenTables: p.fileBudget().store, Logger: storeLog{p.log.Named("store").Sugar()},
	}
	o.Cache = embedded.NewCache(o)
	return &embeddedStores{p.settings.DataDir, p.Events, o}, func() error { o.Cache.Close(); return nil }
}

func (s *embeddedStores) open(name string) (projection.Store, error) {
	store, err := embedded.Open(embedded.Directory(s.dataDir, generation.Namespace(name)), s.options)
	if err != nil {
		return nil, err
	}
	return store, nil
}

// Open implements generation.Stores.
func (s *embeddedStores) Open(ctx context.Context, g *generation.Record, _ hold.Rules) (projection.Store, error) {
	for {
		store, err := s.open(g.Name)
		if err != nil {
			return nil, err
		}
		if err = fixMeta(ctx, store, g, s.events); err == nil {
			return store, nil
		}
		err = errors.Join(err, store.Close())
		if fixed := (*projection.MetaError)(nil); !errors.As(err, &fixed) || fixed.Name != projection.MetaGeneration {
			return nil, err
		}
		if err := s.RemoveLocal(ctx, g.Name); err != nil {
			return nil, err
		}
	}
}

// RemoveLocal implements generation.Stores.
func (s *embeddedStores) RemoveLocal(_ context.Context, name string) error {
	return embedded.Remove(embedded.Directory(s.dataDir, generation.Namespace(name)))
}

// RemoveShared implements generation.Stores: nothing is shared.
func (s *embeddedStores) RemoveShared(context.Context, string) error { return nil }

// Local implements generation.Stores.
func (s *embeddedStores) Local() ([]string, error) { return embedded.Generations(s.dataDir) }

// mongoStores are in one database that all workers share.
type mongoStores struct {
	config mongo.Config
	events *ingest.Log
	node   *process
}

func (s *mongoStores) open(ctx context.Context, name string, rules hold.Rules) (*mongo.Store, error) {
	c := s.config
	c.Rules, c.Generation, c.Logger = rules, generation.Namespace(name), waitingLog{storeLog{s.node.log.Named("store").Sugar()}, &s.node.startup}
	return mongo.Open(ctx, c)
}

// Open implements generation.Stores.
func (s *mongoStores) Open(ctx context.Context, g *generation.Record, rules hold.Rules) (projection.Store, error) {
	store, err := s.open(ctx, g.Name, rules)
	if err != nil {
		return nil, err
	}
	err = s.node.patiently(ctx, "the store's settings cannot be fixed", func(ctx context.Context) error {
		return fixMeta(ctx, store, g, s.events)
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// RemoveLocal implements generation.Stores: a process keeps nothing of its own.
func (s *mongoStores) RemoveLocal(context.Context, string) error { return nil }

// RemoveShared implements generation.Stores.
func (s *mongoStores) RemoveShared(ctx context.Context, name string) error {
	store, err := s.open(ctx, name, nil)
	if err != nil {
		return err
	}
	return errors.Join(store.Drop(ctx), store.Close())
}

// Local implements generation.Stores.
func (s *mongoStores) Local() ([]string, error) { return nil, nil }
