package transparency

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/ingest/proof"
)

// Bucket is the name of the key-value bucket.
const Bucket = "HOLD_AUDIT"

// openBucket finds the bucket or makes it. One that exists keeps its replicas. It does what
// jetstream.CreateKeyValue would do, without direct reads: these are answered by any
// replica, also by one that is behind, and a head that goes back would look like an attack.
func openBucket(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.KeyValue, error) {
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name:              "KV_" + Bucket,
		Description:       "holdmetrics: signed checkpoints of the event log, and the hashes that prove them. Keep it with the log.",
		Subjects:          []string{"$KV." + Bucket + ".>"},
		Storage:           jetstream.FileStorage,
		Replicas:          max(replicas, 1),
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		DenyDelete:        true,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		err = nil
	}
	var kv jetstream.KeyValue
	if err == nil {
		kv, err = js.KeyValue(ctx, Bucket)
	}
	if err != nil {
		return nil, fmt.Errorf("transparency: open bucket %s: %w", Bucket, err)
	}
	return kv, nil
}

// head is what is known of the tree. It is never changed.
type head struct {
	checkpoint proof.Checkpoint
	note       string // the checkpoint, signed
	tree       *proof.Tree
	last       proof.Leaf // of the last position; zero: the tree is empty
	revision   uint64     // of the key; 0: there is none
}

// storedHead is how it is written.
type storedHead struct {
	Version int    `json:"holdmetrics_head"`
	Note    string `json:"note"`
	Tree    []byte `json:"tree"`
	Last    []byte `json:"last"`
}

func (h *head) format() ([]byte, error) {
	return json.Marshal(storedHead{Version: 1, Note: h.note, Tree: h.tree.Append(nil), Last: h.last.Append(nil)})
}

// load reads the head of the log, or an empty one if there is none. Who wrote it does not
// matter here: another key may have signed it, before this one took its place. That the
// hashes agree with each other is checked.
func (k *Keeper) load(ctx context.Context) (*head, error) {
	entry, err := k.kv.Get(ctx, k.headKey())
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return &head{tree: &proof.Tree{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("transparency: read the head: %w", err)
	}
	bad := func(what string, err error) (*head, error) {
		return nil, fmt.Errorf("%w: key %s: %s: %w: put back the bucket from a backup", ErrDamaged, k.headKey(), what, err)
	}
	var s storedHead
	if err := json.Unmarshal(entry.Value(), &s); err != nil {
		return bad("not a head", err)
	}
	h := &head{note: s.Note, revision: entry.Revision()}
	if h.tree, err = proof.ParseTree(s.Tree); err != nil {
		return bad("the tree", err)
	}
	if h.last, err = proof.ParseLeaf(s.Last); err != nil {
		return bad("the last leaf", err)
	}
	if h.checkpoint, err = proof.ReadCheckpoint(s.Note); err != nil {
		return bad("the checkpoint", err)
	}
	c := proof.Checkpoint{LogID: k.cfg.Log.ID(), Size: h.tree.Size(), Root: h.tree.Root()}
	if c != h.checkpoint || h.last.Position != c.Size {
		return bad("the checkpoint", errors.New("it states another tree"))
	}
	return h, nil
}

func (k *Keeper) headKey() string { return "head." + k.cfg.Log.ID() }

func (k *Keeper) tileKey(id proof.TileID) string { return "tile." + k.cfg.Log.ID() + "." + id.String() }

// tile reads a full tile.
func (k *Keeper) tile(ctx context.Context, id proof.TileID) ([]byte, error) {
	entry, err := k.kv.Get(ctx, k.tileKey(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("%w: tile %s is missing: put back the bucket from a backup", ErrDamaged, id)
	}
	if err != nil {
		return nil, fmt.Errorf("transparency: read tile %s: %w", id, err)
	}
	return entry.Value(), nil
}

// keepTile writes a tile that is behind the head. One of other bytes is what a crash left
// of a log that has lost its end since, and nothing was signed with it.
func (k *Keeper) keepTile(ctx context.Context, t proof.Tile) error {
	key := k.tileKey(t.ID)
	_, err := k.kv.Create(ctx, key, t.Hashes)
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return wrapTile(t.ID, err)
	}
	entry, err := k.kv.Get(ctx, key)
	if err != nil || bytes.Equal(entry.Value(), t.Hashes) {
		return wrapTile(t.ID, err)
	}
	_, err = k.kv.Update(ctx, key, t.Hashes, entry.Revision())
	return wrapTile(t.ID, err)
}

func wrapTile(id proof.TileID, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("transparency: write tile %s: %w", id, err)
}
