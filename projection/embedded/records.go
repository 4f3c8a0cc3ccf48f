package embedded

import (
	"encoding/binary"
	"errors"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// How records are written. Every value begins with a version, so that a later
// program can tell what it reads. Numbers are varints. Nothing in a value
// depends on the clock, on the machine or on the order of a map: the same
// batches give the same bytes.
//
//	format      the text of formatText
//	checkpoint  1 <length> <log id> <position> <epoch> <log time> <events> <rejected>
//	            then, unless all that follows is 0, <horizon> <swept>, and, unless both
//	            are 0, <hash> <messages>, which older programs did not write
//	holder      1 <position> <updated at> <figures>
//	pair        1 <flags> <policy> <figures> <root page>
//	page        1 <data>
//	meta        1 <value>
//
// A holder's position comes first, so that a walk over what has changed decodes
// nothing else of what has not.
const recordVersion = 1

// formatText is the value of the format record. Another layout gets another number.
const formatText = "holdmetrics projection 1"

// pairHasRoot is a pair's flag: its root page follows, be it only by its presence.
const pairHasRoot = 1

var (
	errShort   = errors.New("it ends early")
	errVersion = errors.New("its version is not one that this program reads")
	errTrail   = errors.New("something follows it")
)

// decoder reads a value from its front. The first error stays.
type decoder struct {
	b   []byte
	err error
}

func decode(b []byte) *decoder {
	d := &decoder{b: b}
	if d.byte() != recordVersion {
		d.fail(errVersion)
	}
	return d
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errShort)
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail(errShort)
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) figures() hold.Figures {
	if d.err != nil {
		return hold.Figures{}
	}
	f, rest, err := hold.ParseFigures(d.b)
	if err != nil {
		d.fail(err)
		return hold.Figures{}
	}
	d.b = rest
	return f
}

// end is the error of the whole value; what is an error to the store, too, is
// that bytes are left.
func (d *decoder) end(what string) error {
	if d.err == nil && len(d.b) > 0 {
		d.err = errTrail
	}
	if d.err == nil {
		return nil
	}
	return corrupt(what, d.err)
}

func appendCheckpoint(dst []byte, c *projection.Checkpoint) []byte {
	dst = append(dst, recordVersion)
	dst = binary.AppendUvarint(dst, uint64(len(c.LogID)))
	dst = append(dst, c.LogID...)
	dst = binary.AppendUvarint(dst, c.Position)
	dst = binary.AppendUvarint(dst, c.Epoch)
	dst = binary.AppendVarint(dst, c.LogTime)
	dst = binary.AppendUvarint(dst, c.Events)
	dst = binary.AppendUvarint(dst, c.Rejected)
	anchored := c.Hash != 0 || c.Messages != 0
	if c.Horizon != 0 || anchored {
		dst = binary.AppendVarint(binary.AppendVarint(dst, c.Horizon), c.Swept)
	}
	if anchored {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, c.Hash), c.Messages)
	}
	return dst
}

func parseCheckpoint(b []byte) (projection.Checkpoint, error) {
	d := decode(b)
	c := projection.Checkpoint{LogID: string(d.bytes(d.uvarint()))}
	c.Position = d.uvarint()
	c.Epoch = d.uvarint()
	c.LogTime = d.varint()
	c.Events = d.uvarint()
	c.Rejected = d.uvarint()
	if len(d.b) > 0 {
		c.Horizon, c.Swept = d.varint(), d.varint()
	}
	if len(d.b) > 0 {
		c.Hash, c.Messages = d.uvarint(), d.uvarint()
	}
	return c, d.end("a checkpoint")
}

func appendHolder(dst []byte, h *projection.HolderRecord) []byte {
	dst = append(dst, recordVersion)
	dst = binary.AppendUvarint(dst, h.Position)
	dst = binary.AppendVarint(dst, h.UpdatedAt)
	return h.Figures.Append(dst)
}

// parseHolder reads a holder's record, all but its name.
func parseHolder(b []byte) (projection.HolderRecord, error) {
	d := decode(b)
	h := projection.HolderRecord{Position: d.uvarint()}
	h.UpdatedAt = d.varint()
	h.Figures = d.figures()
	return h, d.end("the record of a holder")
}

// parseHolderPosition reads no more of a holder's record than its position.
func parseHolderPosition(b []byte) (uint64, error) {
	d := decode(b)
	position := d.uvarint()
	if d.err != nil {
		return 0, corrupt("the record of a holder", d.err)
	}
	return position, nil
}

// pairRecord is a pair's own record. Root aliases what it was parsed from.
type pairRecord struct {
	policy  hold.Policy
	figures hold.Figures
	hasRoot bool
	root    []byte
}

func (p *pairRecord) append(dst []byte) []byte {
	var flags byte
	if p.hasRoot {
		flags |= pairHasRoot
	}
	dst = append(dst, recordVersion, flags, byte(p.policy))
	dst = p.figures.Append(dst)
	return append(dst, p.root...)
}

func parsePair(b []byte) (pairRecord, error) {
	d := decode(b)
	flags := d.byte()
	p := pairRecord{policy: hold.Policy(d.byte())}
	p.figures = d.figures()
	p.hasRoot = flags&pairHasRoot != 0
	if flags&^pairHasRoot != 0 {
		d.fail(errVersion)
	}
	if p.hasRoot && d.err == nil {
		p.root, d.b = d.b, nil
	}
	return p, d.end("the record of a pair")
}

func appendTagged(dst, data []byte) []byte { return append(append(dst, recordVersion), data...) }

// parseTagged reads a page or a meta value; the answer aliases b.
func parseTagged(b []byte, what string) ([]byte, error) {
	d := decode(b)
	if d.err != nil {
		return nil, corrupt(what, d.err)
	}
	return d.b, nil
}
