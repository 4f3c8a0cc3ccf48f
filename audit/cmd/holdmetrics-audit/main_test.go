package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/codenotary/immudb/pkg/api/schema"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/audit/immu"
	"holdmetrics/audit/immutest"
	"holdmetrics/audit/ledger"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/archive"
	"holdmetrics/internal/natstest"
	"holdmetrics/processor"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
)

// cluster is a log with everything that is made from it, and an immudb beside it.
type cluster struct {
	t        *testing.T
	dir      string
	nats     *server.Server
	js       jetstream.JetStream
	log      *ingest.Log
	immudb   *immutest.Server
	immuDir  string
	state    string
	record   generation.Record
	position uint64
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	return newClusterBy(t, generation.Record{Policy: "merge", Version: hold.NoRulesVersion, Built: true})
}

// newClusterBy is newCluster with a generation.
func newClusterBy(t *testing.T, by generation.Record) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), immuDir: t.TempDir(), record: by}
	c.state = filepath.Join(c.dir, "audit.state")
	c.startNATS(natstest.Dir(t))
	c.immudb = immutest.Start(t, c.immuDir)
	return c
}

func (c *cluster) startNATS(dir string, change ...func(*server.Options)) {
	c.t.Helper()
	c.nats = natstest.Start(c.t, append([]func(*server.Options){natstest.Listening, func(o *server.Options) { o.StoreDir = dir }}, change...)...)
	c.js = natstest.JetStream(c.t, c.nats)
	var err error
	if c.log, err = ingest.OpenLog(c.t.Context(), c.js, ingest.LogConfig{Partitions: 4}); err != nil {
		c.t.Fatal(err)
	}
	registry, err := generation.Open(c.t.Context(), c.js, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := registry.Begin(c.t.Context(), c.record); err != nil {
		c.t.Fatal(err)
	}
}

// process applies the log to a store and a bucket, until all of it is applied.
func (c *cluster) process() {
	c.t.Helper()
	store, err := embedded.Open(embedded.Directory(c.dir, ""), embedded.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.processInto(store)
	if err := store.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// processInto is process with a store.
func (c *cluster) processInto(store projection.Store) {
	c.t.Helper()
	by, err := c.record.ParseRules()
	if err != nil {
		c.t.Fatal(err)
	}
	snapshots, err := projection.OpenSnapshots(c.t.Context(), c.js, projection.SnapshotConfig{Generation: "1", Async: true})
	if err != nil {
		c.t.Fatal(err)
	}
	worker, err := processor.New(processor.Config{Log: c.log, Store: store, Snapshots: snapshots, Rules: by})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	last, err := c.log.LastPosition(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for p := range c.log.Partitions() {
		if err := worker.WaitApplied(c.t.Context(), p, last); err != nil {
			c.t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		c.t.Fatal(err)
	}
	snapshots.Close()
}

// send sends frames of events of all kinds, the same for the same numbers.
func (c *cluster) send(frames int) {
	c.t.Helper()
	for range frames {
		c.position++
		n := int(c.position)
		holder := fmt.Sprintf("holder-%d", n%7)
		var w ingest.FrameWriter
		for i := range 3 {
			d := hold.Draft{Token: fmt.Sprintf("T%d", i%2), Holder: holder, Start: hold.Stamp{Set: true, Seconds: int64(1000*n + i)}, WeightExact: fmt.Sprintf("%d.5", n)}
			if n%3 == 0 || i == 1 {
				d.End = hold.Stamp{Set: true, Seconds: int64(1000*n + 500 + i)}
			}
			if n%10 == 0 && i == 2 {
				d.Holder = "" // refused
			}
			w.AppendDraft(&d)
		}
		if _, err := c.js.Publish(c.t.Context(), ingest.LogSubject(ingest.Partition(holder, 4)), w.Bytes()); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) getenv(name string) string {
	return map[string]string{
		"NATS_URL": c.nats.ClientURL(), "IMMUDB_URL": c.immudb.Address, "IMMUDB_USER": immutest.User,
		"IMMUDB_PASSWORD": immutest.Password, "AUDIT_STATE": c.state,
	}[name]
}

func (c *cluster) try(args ...string) (string, error) {
	c.t.Helper()
	var out, errOut bytes.Buffer
	if code := run(c.t.Context(), args, c.getenv, &out, &errOut); code != 0 {
		return out.String() + errOut.String(), errors.New(errOut.String())
	}
	return out.String(), nil
}

func (c *cluster) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("%s: %s", args, out)
	}
	return out
}

// differs runs verify, and wants it to find what a pattern says.
func (c *cluster) differs(want string, args ...string) {
	c.t.Helper()
	out, err := c.try(append([]string{"verify"}, args...)...)
	if err == nil || !regexp.MustCompile(want).MatchString(out) {
		c.t.Errorf("verify %s: no %q in:\n%s", args, want, out)
	}
}

func (c *cluster) export(change func(messages []*ingest.Message) []*ingest.Message) string {
	c.t.Helper()
	last, err := c.log.LastPosition(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	origin, err := c.log.Origin(c.t.Context(), last)
	if err != nil {
		c.t.Fatal(err)
	}
	var all []*ingest.Message
	for m, err := range c.log.Read(c.t.Context(), ingest.Range{}) {
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, m)
	}
	if change != nil {
		all = change(all)
	}
	origin.Through = uint64(len(all))
	name := filepath.Join(c.t.TempDir(), "log.ndjson")
	w, err := archive.Create(name, archive.NDJSON, archive.Header{Origin: origin, From: 1})
	if err != nil {
		c.t.Fatal(err)
	}
	for i, m := range all {
		m.Position = uint64(i + 1)
		if err := w.Write(m); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		c.t.Fatal(err)
	}
	return name
}

func TestAnUntouchedLogHasNoDifference(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(40)
	c.process()
	if out := c.run("follow", "--once", "--states", "3"); !strings.Contains(out, "copied up to position 40\n") {
		t.Error(out)
	}
	out := c.run("verify")
	for _, want := range []string{"no difference: log ", "positions 1 to 40; 40 messages with 120 events as in immudb, which has positions 1 to 40; 1", "scores of snapshots of generation 1: 7 holders"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	c.send(5)
	c.process()
	c.run("follow", "--once", "--states", "3")
	c.run("follow", "--once", "--states", "3") // nothing to do
	c.run("verify", "--from", "10", "--to", "20")
	c.run("verify", "--holder", "holder-3")
	c.run("verify", "--data-dir", c.dir)
	export := c.export(nil)
	c.run("verify", "--export", export, "--data-dir", c.dir)
	if out := c.run("verify", "--export", export, "--no-scores"); !strings.Contains(out, "45 messages with 135 events") {
		t.Error(out)
	}
}

// A store that cannot be opened, or read, is a difference that names the file, and does not
// keep the rest from being compared. (A byte of its write-ahead log is none: a store that
// has lost its end is behind the log, and right.)
func TestADamagedStoreIsNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(60)
	c.process()
	c.run("follow", "--once")
	files, err := filepath.Glob(filepath.Join(embedded.Directory(c.dir, ""), "MANIFEST-*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		flip(t, path, info.Size()/3)
	}
	out, err := c.try("verify", "--data-dir", c.dir)
	if err == nil || !strings.Contains(out, "the store "+embedded.Directory(c.dir, "")+": ") || !strings.Contains(out, "damaged") {
		t.Errorf("%v: %s", err, out)
	}
	c.run("verify")
}

func TestChangesOfSnapshotsAreNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(40)
	c.process()
	c.run("follow", "--once")
	c.run("verify")
	bucket, err := c.js.KeyValue(t.Context(), projection.BucketName("1"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := bucket.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var holders []string
	for _, key := range keys {
		if !strings.Contains(key, ".") {
			holders = append(holders, key)
		}
	}
	slices.Sort(holders)
	one, other := holders[0], holders[1]
	of := func(key string) jetstream.KeyValueEntry {
		entry, err := bucket.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return entry
	}
	whole := of(one)
	put := func(value []byte) {
		if _, err := bucket.Put(t.Context(), one, value); err != nil {
			t.Fatal(err)
		}
	}
	id, err := ingest.HolderOf(one)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	c.differs(fmt.Sprintf(`(?m)^position \d+, holder "%s": snapshots of generation 1: missing: `, id))
	if err := bucket.Purge(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	c.differs(fmt.Sprintf(`holder "%s": snapshots of generation 1: missing: `, id), "--holder", id)
	put(whole.Value())
	c.run("verify")
	put(of(other).Value()) // of another holder
	if out, err := c.try("verify"); err == nil || !strings.Contains(out, id) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestChangesOfAnExportAreNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(30)
	c.process()
	c.run("follow", "--once", "--states", "2")
	type messages = []*ingest.Message
	rewrite := func(m *ingest.Message, change func(i int, d *hold.Draft) bool) {
		var w ingest.FrameWriter
		i := 0
		for e := range m.Entries() {
			d := e.Draft
			if change(i, &d) {
				w.AppendDraft(&d)
			}
			i++
		}
		m.Data = bytes.Clone(w.Bytes())
	}
	for name, test := range map[string]struct {
		change func(messages) messages
		want   string
		counts bool // and the scores are others
	}{
		"a weight": {func(all messages) messages {
			rewrite(all[10], func(i int, d *hold.Draft) bool {
				if i == 1 {
					d.WeightExact = "11.6"
				}
				return true
			})
			return all
		}, `(?m)^position 11: changed: event 1 is .*"11\.6".*, and was .*"11\.5"`, true},
		"an event is removed": {func(all messages) messages {
			rewrite(all[10], func(i int, _ *hold.Draft) bool { return i != 0 })
			return all
		}, `(?m)^position 11: removed: event 0 of the copy is not in the log: .*"token_id":"T0"`, true},
		"an event is added": {func(all messages) messages {
			var w ingest.FrameWriter
			for e := range all[10].Entries() {
				w.AppendDraft(&e.Draft)
			}
			w.AppendDraft(&hold.Draft{Token: "T0", Holder: "mallory", Start: hold.Stamp{Set: true, Seconds: 5}})
			all[10].Data = bytes.Clone(w.Bytes())
			return all
		}, `(?m)^position 11: added: event 3 is in the log and not in the copy: .*mallory`, false},
		"two events are swapped": {func(all messages) messages {
			var drafts []hold.Draft
			for e := range all[10].Entries() {
				drafts = append(drafts, e.Draft)
			}
			var w ingest.FrameWriter
			for _, i := range []int{0, 2, 1} {
				w.AppendDraft(&drafts[i])
			}
			all[10].Data = bytes.Clone(w.Bytes())
			return all
		}, `(?m)^position 11: moved: events 1 and 2 changed places`, false},
		"a time": {func(all messages) messages {
			all[10].Time++
			return all
		}, `(?m)^position 11: changed: its bytes, time or partition`, false},
		"a message is removed": {func(all messages) messages {
			return append(all[:10:10], all[11:]...)
		}, `(?m)^position 11: removed: `, true},
		"a message is added": {func(all messages) messages {
			m := *all[3]
			m.Data = append([]byte(nil), m.Data...)
			rewrite(&m, func(_ int, d *hold.Draft) bool { d.Holder = "holder-4"; d.HoldID = "x"; return true })
			return append(append(all[:10:10], &m), all[10:]...)
		}, `(?m)^position 11: added: `, true},
		"two messages are swapped": {func(all messages) messages {
			all[10], all[11] = all[11], all[10]
			return all
		}, `(?m)^position 11: moved: the messages of positions 11 and 12 were swapped`, false},
		"two distant messages are swapped": {func(all messages) messages {
			all[10], all[20] = all[20], all[10]
			return all
		}, `(?m)^position 11: moved: the log has the message of position 21 in its place`, false},
		"the end is removed": {func(all messages) messages { return all[:25] }, `(?m)^position 26: missing: the log ends at 25`, false},
	} {
		t.Run(name, func(t *testing.T) {
			file := c.export(test.change)
			c.differs(test.want, "--export", file, "--no-scores")
			if test.counts {
				c.differs(`the state of partition \d by rules none is another one`, "--export", file)
			}
		})
	}
}

func TestChangesOfTheStoreAreNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(30)
	c.process()
	changed := func(how func(*projection.HolderRecord, *projection.PairRecord)) {
		t.Helper()
		store, err := embedded.Open(embedded.Directory(c.dir, ""), embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		change(t, store, "holder-3", "T0", how)
	}
	export := c.export(nil)
	c.verifyStore(`^no difference: .*: 7 holders`, export)
	changed(func(r *projection.HolderRecord, _ *projection.PairRecord) {
		r.Figures.Settled.Score = r.Figures.Settled.Score.Add(hold.Score{1})
	})
	c.verifyStore(`(?m)^position 24, holder "holder-3": the store .*: the score does not follow from the events: the settled score is `, export)
	changed(func(r *projection.HolderRecord, p *projection.PairRecord) {
		r.Figures.Settled.Score = r.Figures.Settled.Score.Sub(hold.Score{1})
		p.Figures.Settled.Score = p.Figures.Settled.Score.Add(hold.Score{1})
	})
	c.verifyStore(`(?m)holder "holder-3": the store .*: the figures of token "T0" do not follow from its stored holds`, export)

	// A byte of each table file.
	tables, err := filepath.Glob(filepath.Join(embedded.Directory(c.dir, ""), "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		flip(t, name, 20)
	}
	if len(tables) > 0 {
		if out, err := c.try("verify", "--data-dir", c.dir, "--export", export); err == nil {
			t.Errorf("damaged tables: %s", out)
		}
	}
}

// change changes a holder and a pair in a store.
func change(t *testing.T, store projection.Store, holder, token string, how func(*projection.HolderRecord, *projection.PairRecord)) {
	t.Helper()
	partition := ingest.Partition(holder, 4)
	r, err := store.Holder(t.Context(), partition, holder)
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := store.Load(t.Context(), partition, []projection.PairKey{{Holder: holder, Token: token}})
	if err != nil {
		t.Fatal(err)
	}
	at, _, err := store.Checkpoint(t.Context(), partition)
	if err != nil {
		t.Fatal(err)
	}
	how(r, pairs[0])
	at.Epoch++ // MongoDB's takes a batch of the same epoch and position for one that was written
	if err := store.Flush(t.Context(), &projection.Batch{Partition: partition, Checkpoint: at, Holders: []projection.HolderRecord{*r},
		Pairs: []projection.PairChange{{Key: pairs[0].Key, Policy: pairs[0].Policy, Figures: pairs[0].Figures, Pages: pairs[0].Pages}}}); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// verifyStore is differs without immudb.
func (c *cluster) verifyStore(want, export string) {
	c.t.Helper()
	var out, errOut bytes.Buffer
	code := run(c.t.Context(), []string{"verify", "--data-dir", c.dir, "--export", export}, func(string) string { return "" }, &out, &errOut)
	if (code == 0) != strings.HasPrefix(want, "^no difference") || !regexp.MustCompile(want).MatchString(out.String()) {
		c.t.Errorf("no %q in:\n%s%s", want, &out, &errOut)
	}
}

// flip changes one bit of a file.
func flip(t *testing.T, name string, at int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 4
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestChangesOfImmudbAreNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(30)
	c.run("follow", "--once", "--states", "0")
	c.run("verify", "--no-scores")
	c.immudb.Stop()
	whole := filepath.Join(t.TempDir(), "whole")
	if err := os.CopyFS(whole, os.DirFS(c.immuDir)); err != nil {
		t.Fatal(err)
	}
	state, err := os.ReadFile(c.state)
	if err != nil {
		t.Fatal(err)
	}

	// One byte of a value, in its files.
	changed := 0
	err = filepath.WalkDir(c.immuDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "defaultdb") {
			return err
		}
		b, err := os.ReadFile(path)
		if at := bytes.Index(b, []byte(`"weight_exact":"12.5"`)); err == nil && at >= 0 && changed == 0 {
			changed++
			b[at+16] = '9'
			return os.WriteFile(path, b, 0o600)
		}
		return err
	})
	if err != nil || changed != 1 {
		t.Fatal(changed, err)
	}
	c.immudb = immutest.Start(t, c.immuDir)
	c.differs(`(?m)^position 12: .*event:0*12:0*0`, "--no-scores")
	c.immudb.Stop()

	// Somebody with its credentials writes over a key, and adds one.
	c.immudb = immutest.Start(t, whole)
	cfg := c.immudb.Config(t)
	cfg.First = true
	other := immutest.Open(t, cfg)
	over := filepath.Join(t.TempDir(), "over")
	write := func(key, value string) {
		if err := other.Set(t.Context(), pairOf(key, value)); err != nil {
			t.Fatal(err)
		}
	}
	write("holdmetrics:event:00000000000000000012:000001", `{"position":12,"index":1}`)
	c.differs(`(?m)^position 12: immudb: transaction \d+ wrote event 1 where event 3 belongs`, "--no-scores")
	_ = over

	// Put back to a copy: then it lacks what was verified.
	c.send(5)
	c.run("follow", "--once", "--states", "0")
	c.immudb.Stop()
	before, err := os.ReadFile(c.state)
	if err != nil {
		t.Fatal(err)
	}
	c.immudb = immutest.Start(t, c.immuDir)
	for _, command := range [][]string{{"verify"}, {"follow", "--once"}} {
		if out, err := c.try(command...); err == nil || !strings.Contains(out, "immudb was rolled back") {
			t.Errorf("%s: %s", command, out)
		}
	}
	if after, err := os.ReadFile(c.state); err != nil || !bytes.Equal(after, before) {
		t.Error("the state file was changed", err)
	}
	_ = state
}

// Somebody who has immudb's credentials deletes keys, and writes what a follower writes, to
// hide what he has changed in the log.
func TestWhatIsHiddenInImmudbIsNamed(t *testing.T) {
	t.Parallel()
	const event, frame = "holdmetrics:event:00000000000000000002:000000", "holdmetrics:frame:00000000000000000003"
	remove := func(key string) func(context.Context, schema.ImmuServiceClient) error {
		return func(ctx context.Context, s schema.ImmuServiceClient) error {
			_, err := s.Delete(ctx, &schema.DeleteKeysRequest{Keys: [][]byte{[]byte(key)}})
			return err
		}
	}
	set := func(key, value string) func(context.Context, schema.ImmuServiceClient) error {
		return func(ctx context.Context, s schema.ImmuServiceClient) error {
			_, err := s.Set(ctx, &schema.SetRequest{KVs: []*schema.KeyValue{{Key: []byte(key), Value: []byte(value)}}})
			return err
		}
	}
	// The weight of an event at position 9 was changed in this export.
	changed := func(all []*ingest.Message) []*ingest.Message {
		var w ingest.FrameWriter
		for e := range all[8].Entries() {
			d := e.Draft
			d.WeightExact = "777"
			w.AppendDraft(&d)
		}
		all[8].Data = bytes.Clone(w.Bytes())
		return all
	}
	for name, test := range map[string]struct {
		act  func(context.Context, schema.ImmuServiceClient) error
		want string
	}{
		"an event is deleted":   {remove(event), `(?m)^position 2: immudb: key ` + event + ` was deleted, or made a reference, in transaction \d+`},
		"a message is deleted":  {remove(frame), `(?m)^position 3: immudb: key ` + frame + ` was deleted`},
		"it begins later":       {set("holdmetrics:position", `{"from":10,"through":12}`), `(?m)^position 9: changed: event 0`},
		"it ends earlier":       {set("holdmetrics:position", `{"from":1,"through":8}`), `(?m)^position 9: changed: event 0`},
		"it has nothing":        {set("holdmetrics:position", `{"from":13,"through":12}`), `(?m)^position 9: changed: event 0`},
		"no position":           {set("holdmetrics:position", `{}`), `immudb: transaction \d+ says that positions 0 to 0 were copied`},
		"a message of nowhere":  {set("holdmetrics:frame:00000000000000000013", `{}`), `(?m)^position 9: changed: event 0`},
		"it has what never was": {set("holdmetrics:position", `{"from":1,"through":40}`), `(?m)^position 9: changed: event 0`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			c.send(12)
			c.run("follow", "--once")
			c.immudb.As(t, test.act)
			if strings.Contains(test.want, "position 9") {
				if c.run("verify", "--export", c.export(nil), "--no-scores", "--to", "12"); t.Failed() {
					return
				}
				c.differs(test.want, "--export", c.export(changed), "--no-scores")
				return
			}
			c.differs(test.want, "--no-scores")
			c.differs(test.want, "--no-scores", "--export", c.export(nil))
		})
	}
}

// Messages of the copy behind the end of the log were there once, or somebody wrote them.
func TestTheCopyHasMoreThanTheLog(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(12)
	c.run("follow", "--once")
	c.immudb.As(t, func(ctx context.Context, s schema.ImmuServiceClient) error {
		_, err := s.Set(ctx, &schema.SetRequest{KVs: []*schema.KeyValue{{Key: ledger.FrameKey(14), Value: []byte(`{"events":1}`)}}})
		return err
	})
	c.differs(`(?m)^position 14: missing: the log ends at 12, and immudb has a message of this position`, "--no-scores")
}

// What was not compared is said, and where nothing was, that is no success.
func TestWhatIsNotComparedIsSaid(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(10)
	c.run("follow", "--once", "--from", "5", "--states", "0")
	c.send(3)
	if out := c.run("verify", "--no-scores"); !strings.Contains(out, "6 messages") || !strings.Contains(out, "positions 1 to 4 not compared: the copy begins later; positions 11 to 13 not compared: they are not copied yet") {
		t.Error(out)
	}
	for _, args := range [][]string{{"--to", "3"}, {"--from", "11"}} {
		if out, err := c.try(append([]string{"verify", "--no-scores"}, args...)...); err == nil || !strings.Contains(out, "nothing was compared: of positions") {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	t.Run("with nothing", func(t *testing.T) {
		out, code := c.as(map[string]string{"IMMUDB_URL": ""}, "verify", "--no-scores", "--export", c.export(nil))
		if code == 0 || !strings.Contains(out, "nothing was compared: name what to compare the log with") {
			t.Errorf("%d: %s", code, out)
		}
	})
}

// A file with another SHA-256 than it ends with was changed, be it by a space.
func TestAnEditedExportIsNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(10)
	c.run("follow", "--once")
	name := c.export(nil)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c.run("verify", "--no-scores", "--export", name)
	for what, edited := range map[string][]byte{
		"a space":    bytes.Replace(whole, []byte(`,"time"`), []byte(`, "time"`), 1),
		"a checksum": bytes.Replace(whole, []byte(`"sha256":"`), []byte(`"sha256":"0`), 1),
	} {
		if bytes.Equal(edited, whole) {
			t.Fatalf("%s: nothing to edit in %s", what, whole)
		}
		if err := os.WriteFile(name, edited, 0o600); err != nil {
			t.Fatal(err)
		}
		c.differs(`(?m)(was changed after it was written|its lines do not have the SHA-256|damaged)`, "--no-scores", "--export", name)
	}
}

func TestADamagedLogIsNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(60)
	c.run("follow", "--once", "--states", "0")
	dir := c.nats.JetStreamConfig().StoreDir
	c.nats.Shutdown()
	c.nats.WaitForShutdown()
	blocks, err := filepath.Glob(filepath.Join(dir, "$G", "streams", ingest.StreamName, "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatal(blocks, err)
	}
	info, err := os.Stat(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	flip(t, blocks[0], info.Size()/2)
	c.nats = natstest.Start(t, natstest.Listening, func(o *server.Options) { o.StoreDir = filepath.Dir(dir) })
	c.js = natstest.JetStream(t, c.nats)
	if c.log, err = ingest.FindLog(t.Context(), c.js); err != nil {
		t.Fatal(err)
	}
	c.differs(`(?m)^position \d+: (missing|the log cannot be read from here on)`, "--no-scores")
}

func TestAFollowerThatStartsInTheMiddleFillsUp(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(30)
	c.run("follow", "--once", "--from", "20", "--states", "3")
	if out := c.run("verify", "--no-scores"); !strings.Contains(out, "11 messages") || !strings.Contains(out, "positions 20 to 30") {
		t.Error(out)
	}
	c.send(3)
	if out, err := c.try("follow", "--once", "--from", "40"); err == nil || !strings.Contains(out, "would have a gap") {
		t.Error(out)
	}
	c.run("follow", "--once", "--from", "5", "--states", "3")
	c.run("follow", "--once", "--from", "1", "--states", "3")
	if out := c.run("verify", "--no-scores"); !strings.Contains(out, "33 messages with 99 events as in immudb, which has positions 1 to 33") {
		t.Error(out)
	}
}

func TestBadDays(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(5)
	c.run("follow", "--once")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no immudb":      {[]string{"follow", "--immudb-url", "127.0.0.1:bad"}, "is not HOST:PORT"},
		"password":       {[]string{"follow", "--once", "--immudb-user", "nobody"}, "refuses the user, the password or the token"},
		"database":       {[]string{"follow", "--once", "--immudb-database", "absent"}, "no such database"},
		"state gone":     {[]string{"follow", "--once", "--state", filepath.Join(t.TempDir(), "gone")}, "the state file is gone"},
		"another":        {[]string{"verify", "--immudb-database", "absent"}, "no such database"},
		"backwards":      {[]string{"verify", "--from", "3", "--to", "2"}, "--to 2 is before --from 3"},
		"beyond the end": {[]string{"verify", "--no-scores", "--from", "6"}, "--from 6 is behind the end of the log, which is position 5"},
		"nobody":         {[]string{"verify", "--no-scores", "--holder", "nobody"}, `holder "nobody" has no event in positions 1 to 5`},
		"no key":         {[]string{"verify", "--checkpoint", "x"}, "--checkpoint needs --public-key"},
		"no export":      {[]string{"verify", "--export", "absent"}, "no such file"},
		"a bad password": {[]string{"follow", "--once", "--immudb-url", "immudb://immudb:sekrit-word@" + c.immudb.Address + "x"}, "not shown"},
	} {
		out, err := c.try(test.args...)
		if err == nil || !strings.Contains(out, test.want) || strings.Contains(out, "sekrit") {
			t.Errorf("%s: no %q in %s", name, test.want, out)
		}
	}
	// A log that was made again is another one.
	if err := c.js.DeleteStream(t.Context(), ingest.StreamName); err != nil {
		t.Fatal(err)
	}
	if _, err := ingest.OpenLog(t.Context(), c.js, ingest.LogConfig{Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	c.send(5)
	for _, command := range [][]string{{"verify", "--no-scores"}, {"follow", "--once"}} {
		if out, err := c.try(command...); err == nil || !strings.Contains(out, "is of another log") {
			t.Errorf("%s: %s", command, out)
		}
	}
}

func pairOf(key, value string) []immu.Pair {
	return []immu.Pair{{Key: []byte(key), Value: []byte(value)}}
}
