package main

import (
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
	"holdmetrics/projection/mongo"
	"holdmetrics/projection/mongo/mongotest"
)

const everyRule = `policy: merge
ids: evm
exclude:
  - 0x000000000000000000000000000000000000dEaD
  - match: "pool-*"
tokens:
  - token: GOLD
    policy: sum
    multiplier: 2.5
    season: {from: 2023-11-15, to: 2023-11-20T02:00:00+02:00}
    shortest_run: 1h
    hold_ids: required
  - token: SILVER
    boosts:
      by: run
      steps:
        - {after: 1h, factor: 1.5}
        - {after: 1d, factor: 2}
  - match: "LP-*"
    multiplier: 0.5
    boosts:
      by: hold
      steps:
        - {after: 2h, factor: 3}
`

func ruled(t *testing.T) generation.Record {
	t.Helper()
	by, err := rules.Parse("test", []byte(everyRule))
	if err != nil {
		t.Fatal(err)
	}
	return generation.Record{Rules: everyRule, Version: by.Version(), Policy: "merge", Built: true}
}

// sendAny sends frames with events of every kind.
func (c *cluster) sendAny(r *mathrand.Rand, frames int) {
	c.t.Helper()
	holders := []string{
		"alice", "bob", "pool-3", "0x000000000000000000000000000000000000dEaD", "0x000000000000000000000000000000000000dead",
		"0xAbCdEf0000000000000000000000000000000001", "0xabcdef0000000000000000000000000000000001", "0xABCDEF0000000000000000000000000000000002",
	}
	tokens := []string{"GOLD", "SILVER", "LP-1", "TIN", "0xAB00000000000000000000000000000000000000", "0xab00000000000000000000000000000000000000"}
	const begin = 1_700_000_000
	for range frames {
		holder := holders[r.IntN(len(holders))]
		var w ingest.FrameWriter
		for range 1 + r.IntN(5) {
			d := hold.Draft{Token: tokens[r.IntN(len(tokens))], Holder: holder}
			start := int64(begin + r.IntN(500_000))
			if r.IntN(8) > 0 {
				d.Start = hold.Stamp{Set: true, Seconds: start}
			}
			if r.IntN(3) > 0 {
				d.End = hold.Stamp{Set: true, Seconds: start + int64(r.IntN(100_000)) - 10}
			}
			if r.IntN(2) == 0 {
				d.HoldID, d.Revision = fmt.Sprintf("id-%d", r.IntN(9)), r.Uint64N(4)
			}
			if r.IntN(8) == 0 {
				d.Retract = true
			} else {
				d.WeightExact = fmt.Sprintf("%d.%03d", r.IntN(100), r.IntN(1000))
			}
			w.AppendDraft(&d)
		}
		if _, err := c.js.Publish(c.t.Context(), ingest.LogSubject(ingest.Partition(holder, 4)), w.Bytes()); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestScoresByRulesOfASealedLog compares what the processor makes of a sealed log by rules
// of every kind, in both stores and in the bucket, with what verify computes.
func TestScoresByRulesOfASealedLog(t *testing.T) {
	t.Parallel()
	c := newClusterBy(t, ruled(t))
	r := mathrand.New(mathrand.NewPCG(20, 1))
	c.sendAny(r, 150)
	c.process() // pages, and pairs from them
	if err := c.log.Seal(t.Context(), 1_700_250_000*int64(time.Second), time.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	c.sendAny(r, 150)
	// A seal that the settings do not name does not count.
	if _, err := c.js.Publish(t.Context(), ingest.LogSubject(1), ingest.AppendSeal(nil, 1_700_400_000*int64(time.Second))); err != nil {
		t.Fatal(err)
	}
	c.sendAny(r, 100)
	c.process()
	c.run("follow", "--once", "--states", "10")
	none := func(out string) {
		t.Helper()
		if !strings.HasPrefix(out, "no difference: ") {
			t.Error(out)
		}
		t.Log(out)
	}
	none(c.run("verify", "--data-dir", c.dir))
	// By the rules this is one holder with the two other spellings of the id.
	one := c.run("verify", "--holder", "0xABCDEF0000000000000000000000000000000001")
	if none(one); strings.Contains(one, " 0 events") || !strings.Contains(one, ": 1 holders") {
		t.Error(one)
	}
	export := c.export(nil)
	file := c.file("rules.yaml", everyRule)
	none(c.run("verify", "--data-dir", c.dir, "--export", export, "--rules", file))
	if out := c.run("verify", "--policy", "merge", "--generation", "absent", "--export", export); !strings.Contains(out, "of other rules not compared") {
		t.Error(out)
	}
	c.differs(`do not follow from its stored holds`, "--data-dir", c.dir, "--export", export, "--policy", "sum")

	server, err := mongotest.New()
	if errors.Is(err, mongotest.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	database := fmt.Sprintf("holdmetrics_audit_%d", time.Now().UnixNano())
	store, err := mongo.Open(t.Context(), mongo.Config{URL: server.URL, Database: database, Generation: generation.Namespace(generation.First)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c.processInto(store)
	args := []string{"--mongodb-url", server.URL, "--mongodb-db", database}
	none(c.run(append([]string{"verify"}, args...)...))
	none(c.run(append([]string{"verify", "--export", export, "--rules", file}, args...)...))
	change(t, store, "alice", "SILVER", func(r *projection.HolderRecord, _ *projection.PairRecord) {
		r.Figures.Settled.Score = r.Figures.Settled.Score.Add(hold.Score{1})
	})
	c.differs(`(?m)^position \d+, holder "alice": the store in MongoDB: the score does not follow from the events`, args...)
	change(t, store, "alice", "SILVER", func(r *projection.HolderRecord, p *projection.PairRecord) {
		r.Figures.Settled.Score = r.Figures.Settled.Score.Sub(hold.Score{1})
		p.Figures.Settled.Score = p.Figures.Settled.Score.Add(hold.Score{1})
	})
	c.differs(`(?m)holder "alice": the store in MongoDB: the figures of token "SILVER" do not follow from its stored holds`, args...)
}

// file writes a file of the test.
func (c *cluster) file(name, text string) string {
	c.t.Helper()
	path := c.t.TempDir() + "/" + name
	write(c.t, path, text)
	return path
}
