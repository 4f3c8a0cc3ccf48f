package immu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/codenotary/immudb/embedded/store"
	"github.com/codenotary/immudb/pkg/api/schema"
	"github.com/codenotary/immudb/pkg/database"
)

// MaxKeys is how many keys [Client.Set] writes in one transaction at most: what a database
// takes by default.
const MaxKeys = 1000

// Pair is a key with its value.
type Pair struct{ Key, Value []byte }

// goOn verifies that the server went on from the state, and takes its state over.
func (c *Client) goOn(ctx context.Context, now *schema.ImmutableState) error {
	switch {
	case now.TxId < c.state.Tx:
		return fmt.Errorf("%w: it has %d transactions, and %d were verified before: restore it, or find out who put it back", ErrRolledBack, now.TxId, c.state.Tx)
	case now.TxId == c.state.Tx:
		if now.TxId > 0 && !bytes.Equal(now.TxHash, c.state.Hash) {
			return fmt.Errorf("%w: transaction %d has another hash", ErrRewritten, now.TxId)
		}
		return nil
	case c.state.Tx == 0:
		return c.remember(now.TxId, now.TxHash)
	}
	v, err := call(ctx, c, "prove its history", func(ctx context.Context) (*schema.VerifiableTx, error) {
		return c.service.VerifiableTxById(ctx, &schema.VerifiableTxRequest{Tx: now.TxId, ProveSinceTx: c.state.Tx})
	})
	if err != nil {
		return err
	}
	target := schema.TxHeaderFromProto(v.Tx.Header).Alh()
	if !bytes.Equal(target[:], now.TxHash) {
		return fmt.Errorf("%w: transaction %d has another hash than its own state says", ErrRewritten, now.TxId)
	}
	if err := c.proved(ctx, v, now.TxId, target); err != nil {
		return err
	}
	return c.remember(now.TxId, target[:])
}

// proved returns an error unless a later transaction follows from the state.
func (c *Client) proved(ctx context.Context, v *schema.VerifiableTx, tx uint64, hash [sha256.Size]byte) error {
	if c.state.Tx == 0 {
		return nil
	}
	if v.DualProof == nil {
		return fmt.Errorf("%w: transaction %d comes without a proof", ErrRewritten, tx)
	}
	dual := schema.DualProofFromProto(v.DualProof)
	if err := schema.FillMissingLinearAdvanceProof(c.as(ctx), dual, c.state.Tx, tx, c.service); err != nil {
		return classify("prove its history", err)
	}
	if !store.VerifyDualProof(dual, c.state.Tx, tx, c.state.hash(), hash) {
		return fmt.Errorf("%w: transaction %d does not follow from transaction %d, which was verified before", ErrRewritten, tx, c.state.Tx)
	}
	return nil
}

// Set writes keys, up to [MaxKeys] in a transaction, and verifies that the database has
// them, and everything that it had before. After an error some of them may be written.
func (c *Client) Set(ctx context.Context, pairs []Pair) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for part := range slices.Chunk(pairs, MaxKeys) {
		written, err := c.write(ctx, part)
		if err != nil {
			return err
		}
		if err := c.verify(ctx, written, part); err != nil {
			return err
		}
	}
	return nil
}

// write writes a transaction.
func (c *Client) write(ctx context.Context, pairs []Pair) (*schema.TxHeader, error) {
	req := &schema.SetRequest{KVs: make([]*schema.KeyValue, len(pairs)), NoWait: true}
	for i := range pairs {
		req.KVs[i] = &schema.KeyValue{Key: pairs[i].Key, Value: pairs[i].Value}
	}
	return call(ctx, c, "write", func(ctx context.Context) (*schema.TxHeader, error) { return c.service.Set(ctx, req) })
}

// verify verifies a transaction that was written, and remembers it.
func (c *Client) verify(ctx context.Context, written *schema.TxHeader, pairs []Pair) error {
	v, err := call(ctx, c, "prove what was written", func(ctx context.Context) (*schema.VerifiableTx, error) {
		return c.service.VerifiableTxById(ctx, &schema.VerifiableTxRequest{Tx: written.Id, ProveSinceTx: c.state.Tx})
	})
	if err != nil {
		return err
	}
	header := v.Tx.Header
	if len(v.Tx.Entries) != len(pairs) || int(header.Nentries) != len(pairs) {
		return fmt.Errorf("%w: transaction %d has %d entries, and %d were written", ErrDamaged, header.Id, len(v.Tx.Entries), len(pairs))
	}
	sum, value := sha256.New(), make([]byte, 0, sha256.Size)
	for i, e := range v.Tx.Entries {
		sum.Reset()
		sum.Write([]byte{database.PlainValuePrefix})
		sum.Write(pairs[i].Value)
		value = sum.Sum(value[:0])
		if len(e.Key) == 0 || e.Key[0] != database.SetKeyPrefix || !bytes.Equal(e.Key[1:], pairs[i].Key) || !bytes.Equal(e.HValue, value) {
			return fmt.Errorf("%w: transaction %d has another entry than key %q", ErrDamaged, header.Id, pairs[i].Key)
		}
	}
	hash, err := hashOf(v.Tx)
	if err != nil {
		return err
	}
	if header.Id <= c.state.Tx {
		return fmt.Errorf("%w: a new transaction has the number %d, and %d was verified before", ErrRewritten, header.Id, c.state.Tx)
	}
	if err := c.proved(ctx, v, header.Id, hash); err != nil {
		return err
	}
	return c.remember(header.Id, hash[:])
}

// hashOf returns the hash of a transaction, after it has verified that its entries are
// those that the hash states.
func hashOf(tx *schema.Tx) (hash [sha256.Size]byte, err error) {
	stated := schema.DigestFromProto(tx.Header.EH)
	if int(tx.Header.Nentries) != len(tx.Entries) {
		return hash, fmt.Errorf("%w: transaction %d has %d entries of %d", ErrDamaged, tx.Header.Id, len(tx.Entries), tx.Header.Nentries)
	}
	built := schema.TxFromProto(tx) // which computes the hash of the entries
	if built.Header().Eh != stated {
		return hash, fmt.Errorf("%w: the entries of transaction %d have another hash", ErrDamaged, tx.Header.Id)
	}
	return built.Header().Alh(), nil
}

// Get returns the value of a key, verified. The error is [ErrNotFound] if there is none.
func (c *Client) Get(ctx context.Context, key []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := call(ctx, c, "read", func(ctx context.Context) (*schema.VerifiableEntry, error) {
		return c.service.VerifiableGet(ctx, &schema.VerifiableGetRequest{KeyRequest: &schema.KeyRequest{Key: key}, ProveSinceTx: c.state.Tx})
	})
	if err != nil {
		return nil, err
	}
	bad := func(what string) ([]byte, error) {
		return nil, fmt.Errorf("%w: key %q: %s", ErrDamaged, key, what)
	}
	if v.Entry.ReferencedBy != nil || v.VerifiableTx == nil || v.VerifiableTx.DualProof == nil {
		return bad("the answer is not a plain entry with its proof")
	}
	digest, err := store.EntrySpecDigestFor(int(v.VerifiableTx.Tx.Header.Version))
	if err != nil {
		return bad(err.Error())
	}
	dual := schema.DualProofFromProto(v.VerifiableTx.DualProof)
	tx := v.Entry.Tx
	header := dual.TargetTxHeader
	if tx < c.state.Tx {
		header = dual.SourceTxHeader
	}
	entry := digest(database.EncodeEntrySpec(key, schema.KVMetadataFromProto(v.Entry.Metadata), v.Entry.Value))
	if header == nil || header.ID != tx || !store.VerifyInclusion(schema.InclusionProofFromProto(v.InclusionProof), entry, header.Eh) {
		return bad("its transaction does not have this value")
	}
	hash := header.Alh()
	if tx >= c.state.Tx {
		if err := c.proved(ctx, v.VerifiableTx, tx, hash); err != nil {
			return nil, err
		}
		return v.Entry.Value, c.remember(tx, hash[:])
	}
	if err := schema.FillMissingLinearAdvanceProof(c.as(ctx), dual, tx, c.state.Tx, c.service); err != nil {
		return nil, classify("prove its history", err)
	}
	if !store.VerifyDualProof(dual, tx, c.state.Tx, hash, c.state.hash()) {
		return nil, fmt.Errorf("%w: transaction %d of key %q is not of the history that was verified", ErrRewritten, tx, key)
	}
	return v.Entry.Value, nil
}

// Entry is an entry of a transaction.
type Entry struct {
	Tx    uint64
	Key   []byte // without immudb's prefix, where it is one of a key that can be set
	Value []byte
	// Plain reports that the entry sets a key to a value. Others are references, deletions
	// and tables, which this project never writes.
	Plain bool
	// Err is why the value cannot be read; then Value is nil.
	Err error
}

// Each calls f with every entry of the database, from the first transaction to the one
// that the state names, and verifies all of them: the entries of each transaction, its
// link to the one before, and the last one against the state. So nothing is left out,
// added or changed. What cannot be read of a transaction is an Entry with an error.
func (c *Client) Each(ctx context.Context, f func(*Entry) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var before [sha256.Size]byte
	for id := uint64(1); id <= c.state.Tx; id++ {
		tx, err := c.transaction(ctx, id, schema.EntryTypeAction_RAW_VALUE)
		var unread error
		if err != nil {
			if unread = err; ctx.Err() != nil {
				return err
			}
			// The values are damaged, perhaps; the keys say what is concerned.
			if tx, err = c.transaction(ctx, id, schema.EntryTypeAction_ONLY_DIGEST); err != nil {
				return fmt.Errorf("transaction %d of %d: %w", id, c.state.Tx, err)
			}
		}
		hash, err := hashOf(tx)
		if err != nil {
			return err
		}
		if id > 1 && !bytes.Equal(tx.Header.PrevAlh, before[:]) {
			return fmt.Errorf("%w: transaction %d does not follow from the one before", ErrRewritten, id)
		}
		before = hash
		for _, e := range tx.Entries {
			if unread != nil {
				e.Value = nil
			}
			out := entryOf(id, e, unread)
			if unread != nil && out.Plain {
				if err := c.readAlone(ctx, out, e); err != nil {
					return err
				}
			}
			if err := f(out); err != nil {
				return err
			}
		}
	}
	if c.state.Tx > 0 && before != c.state.hash() {
		return fmt.Errorf("%w: transaction %d is not the one that was verified before", ErrRewritten, c.state.Tx)
	}
	return nil
}

// readAlone reads a value of a transaction of which one cannot be read, to find out which.
func (c *Client) readAlone(ctx context.Context, out *Entry, e *schema.TxEntry) error {
	got, err := call(ctx, c, fmt.Sprintf("read transaction %d", out.Tx), func(ctx context.Context) (*schema.Entry, error) {
		return c.service.Get(ctx, &schema.KeyRequest{Key: out.Key, AtTx: out.Tx})
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		out.Plain, out.Err = false, err
		return nil
	}
	e.Value = database.WrapWithPrefix(got.Value, database.PlainValuePrefix)
	*out = *entryOf(out.Tx, e, nil)
	return nil
}

func (c *Client) transaction(ctx context.Context, id uint64, values schema.EntryTypeAction) (*schema.Tx, error) {
	all := &schema.EntryTypeSpec{Action: values}
	return call(ctx, c, fmt.Sprintf("read transaction %d", id), func(ctx context.Context) (*schema.Tx, error) {
		return c.service.TxById(ctx, &schema.TxRequest{Tx: id, EntriesSpec: &schema.EntriesSpec{KvEntriesSpec: all, ZEntriesSpec: all, SqlEntriesSpec: all}})
	})
}

func entryOf(tx uint64, e *schema.TxEntry, unread error) *Entry {
	out := &Entry{Tx: tx, Key: e.Key, Err: unread}
	if len(e.Key) == 0 || e.Key[0] != database.SetKeyPrefix {
		return out
	}
	out.Key = database.TrimPrefix(e.Key)
	if e.Metadata.GetDeleted() {
		out.Err = nil // there is no value to read
		return out
	}
	if unread != nil { // the caller reads it alone
		out.Plain, out.Err = true, nil
		return out
	}
	if sum := sha256.Sum256(e.Value); !bytes.Equal(sum[:], e.HValue) {
		out.Err = fmt.Errorf("%w: transaction %d: the value of key %q has another hash", ErrDamaged, tx, out.Key)
		return out
	}
	if len(e.Value) > 0 && e.Value[0] == database.PlainValuePrefix {
		out.Plain, out.Value = true, database.TrimPrefix(e.Value)
	}
	return out
}
