package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/processor/generation"
)

// How far a build is is told in events, of which a message has any number: how many
// there are in all is known of the active generation.
func TestBuildingIsOfEvents(t *testing.T) {
	t.Parallel()
	p, _ := started(t, t.TempDir())
	r := openRegistry(t, "nats://"+p.broker.address().String())
	tell := func(name string, of ...generation.PartitionProgress) {
		t.Helper()
		if err := r.PutProgress(t.Context(), name, generation.Progress{Worker: "w", Partitions: of}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	o := &operator{js: p.events.JetStream(), log: p.events, records: r}
	// The first one is of lone events, the second one of a frame.
	tell("1",
		generation.PartitionProgress{Partition: 0, Position: 99, Events: 40, Rejected: 10},
		generation.PartitionProgress{Partition: 1, Position: 100, Events: 950})
	ghost := generation.Record{Name: "ghost", Goal: 100}
	others := make([]generation.PartitionProgress, 0, p.events.Partitions())
	for i := 2; i < p.events.Partitions(); i++ {
		others = append(others, generation.PartitionProgress{Partition: i})
	}
	began := append(others, generation.PartitionProgress{Partition: 0, Position: 60, Goal: 99, Events: 25, Rejected: 5}, generation.PartitionProgress{Partition: 1, Goal: 100})
	tell("ghost", began...)
	first, err := o.built(t.Context(), &ghost)
	if err != nil || first.percent() != 3 || first.goal != 1000 || first.events != 25 || first.rejected != 5 {
		t.Errorf("%d %%: %+v, %v", first.percent(), first, err)
	}
	tell("ghost", append(others, generation.PartitionProgress{Partition: 0, Position: 99, Goal: 99, Events: 40, Rejected: 10}, generation.PartitionProgress{Partition: 1, Goal: 100})...)
	then, err := o.built(t.Context(), &ghost)
	if err != nil || then.percent() != 5 || then.goal != 1000 {
		t.Errorf("%d %%: %+v, %v", then.percent(), then, err)
	}
	bar := &buildBar{first: &first}
	if left := bar.left(&then, 2); left != "1m35s" { // 20 of them took 2 s
		t.Errorf("%s left", left)
	}
	tell("ghost", append(others, generation.PartitionProgress{Partition: 0, Position: 99, Goal: 99, Events: 40, Rejected: 10}, generation.PartitionProgress{Partition: 1, Position: 100, Goal: 100, Events: 950})...)
	if done, err := o.built(t.Context(), &ghost); err != nil || done.percent() != 100 {
		t.Errorf("%d %%: %+v, %v", done.percent(), done, err)
	}
	// Of half the log, about half of them.
	tell("half", append(others, generation.PartitionProgress{Partition: 0, Position: 10, Goal: 49, Events: 5}, generation.PartitionProgress{Partition: 1, Goal: 50})...)
	if half, err := o.built(t.Context(), &generation.Record{Name: "half", Goal: 50}); err != nil || half.goal != 25+475 {
		t.Errorf("%+v, %v", half, err)
	}
}

// What is behind in one partition is not had of all, whatever the others have.
func TestReachOf(t *testing.T) {
	t.Parallel()
	ends := []uint64{90, 100, 0}
	for _, c := range []struct {
		all   []generation.Reach
		until uint64
		want  reached
	}{
		{[]generation.Reach{{Position: 90, Stored: 0, Published: 90}, {Position: 100, Stored: 0, Published: 60}, {}}, 0, reached{position: 100, stored: 0, published: 60, end: 100}},
		{[]generation.Reach{{Position: 90, Stored: 90, Published: 90, Rejected: 2}, {Position: 100, Stored: 100, Published: 100, Rejected: 1}, {}}, 0, reached{position: 100, stored: 100, published: 100, end: 100, rejected: 3}},
		{[]generation.Reach{{Position: 40, Stored: 40, Published: 40, Ended: true}, {Position: 45, Stored: 45, Published: 44, Ended: true}, {}}, 50, reached{position: 50, stored: 50, published: 44, end: 50}},
	} {
		if got := reachOf(c.all, ends, c.until); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

// Generations says what status says of the active one: what is applied, stored and
// published, and what was refused; troubles stand under the table.
func TestGenerationsTellHowFar(t *testing.T) {
	t.Parallel()
	p, _ := started(t, t.TempDir())
	nats := "nats://" + p.broker.address().String()
	at, err := p.producer.Record(t.Context(), &hold.Draft{Token: "T", Holder: "h", Start: hold.StampOf(100e9)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.events.JetStream().Publish(t.Context(), "hold.log.3", []byte{0xff}); err != nil {
		t.Fatal(err)
	}
	if at != 1 {
		t.Fatal(at)
	}
	r := openRegistry(t, nats)
	trouble := strings.Repeat("long ", 100) + "\nand more"
	if err := r.PutProgress(t.Context(), "1", generation.Progress{Worker: "w", Trouble: trouble}, time.Hour); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all of it is there", func() error {
		var out, warned bytes.Buffer
		if code := run(t.Context(), []string{"generations", "--format", "csv", "--nats-url", nats}, streams{out: &out, err: &warned}); code != exitOK {
			t.Fatal(&warned)
		}
		if !strings.Contains(out.String(), "1,active,none,merge,,2,0,2,0,2,0,1,") || strings.Contains(out.String(), "long") {
			return errors.New(out.String())
		}
		if want := "generation 1: w: " + strings.Repeat("long ", 100) + "; and more\n"; warned.String() != want {
			t.Errorf("%q, want %q", &warned, want)
		}
		return nil
	})
}
