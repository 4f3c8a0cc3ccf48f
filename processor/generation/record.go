package generation

import (
	"fmt"
	"time"

	"holdmetrics/hold"
	"holdmetrics/hold/rules"
)

// First is the name of the generation that a new system begins with. Its store has no
// name of its own: it is older than generations are.
const First = "1"

// Namespace returns what the stores of a generation are named by: "" for the first one.
func Namespace(name string) string {
	if name == First {
		return ""
	}
	return name
}

// Record is what a generation is made of. Rules, Until and Created never change.
type Record struct {
	Name    string    `json:"name"`
	Rules   string    `json:"rules,omitempty"`    // the rules file; empty: Policy alone
	Version string    `json:"version"`            // of the rules
	Policy  string    `json:"policy"`             // default policy
	Until   uint64    `json:"until,omitempty"`    // last position of the log that is applied; 0: it goes on
	Goal    uint64    `json:"goal,omitempty"`     // last position of the log when it was requested: it is built when applied up to here
	Created time.Time `json:"created"`            // by the clock of the process that requested it
	MaxRate uint64    `json:"max_rate,omitempty"` // events a second while it is built, over all workers; 0: no limit
	Built   bool      `json:"built,omitempty"`    // all of it up to Goal was in store and snapshots once
	Paused  bool      `json:"paused,omitempty"`   // nobody works on it
	Dropped bool      `json:"dropped,omitempty"`  // what is left of it is being removed
}

// Describe returns what the generation counts by: "rules" and their version, or
// "policy" and its name.
func (g *Record) Describe() string {
	if g.Version != hold.NoRulesVersion {
		return "rules " + g.Version
	}
	return "policy " + g.Policy
}

// ParseRules returns the rules of the generation.
func (g *Record) ParseRules() (hold.Rules, error) {
	if g.Rules == "" {
		policy, err := hold.ParsePolicy(g.Policy)
		if err != nil {
			return nil, fmt.Errorf("the record of generation %s names a policy that this version does not know: %w", g.Name, err)
		}
		return hold.PlainRules(policy), nil
	}
	r, err := rules.Parse("generation "+g.Name, []byte(g.Rules))
	if err != nil {
		return nil, err // not r, which would be an interface that is not nil
	}
	return r, nil
}

// Active is the generation that is read.
type Active struct {
	Generation string    `json:"generation"`
	Previous   string    `json:"previous,omitempty"` // where a rollback goes; empty: nowhere
	Since      time.Time `json:"since"`
	Number     uint64    `json:"number"`       // of switches so far
	At         uint64    `json:"at,omitempty"` // last position of the log at the switch: up to here the one before writes dead letters
}

// Prepare names the generation that gateways are to load beside the one they serve.
// With an empty Generation they release what they loaded.
type Prepare struct {
	Generation string `json:"generation,omitempty"`
}

// GatewayState is what a gateway reports of itself.
type GatewayState struct {
	ID        string `json:"id"`
	Active    string `json:"active"`             // generation that it serves
	Prepared  string `json:"prepared,omitempty"` // generation that it has loaded, and that has caught up with what it serves
	LastError string `json:"trouble,omitempty"`  // why it has not
}

// Progress is how far a worker is with its partitions of a generation.
type Progress struct {
	Worker      string              `json:"worker"`
	DeadLetters bool                `json:"letters,omitempty"` // it writes dead letters of all that it applies
	LastError   string              `json:"trouble,omitempty"` // why it does not work on it
	Partitions  []PartitionProgress `json:"partitions"`
}

// PartitionProgress is how far one partition of a generation is.
type PartitionProgress struct {
	Partition int    `json:"partition"`
	Position  uint64 `json:"position"` // applied; it is at Goal only if store and snapshots have it
	Goal      uint64 `json:"goal"`     // last position of the partition up to the record's goal
	Events    uint64 `json:"events"`   // applied
	Rejected  uint64 `json:"rejected"`
	Excluded  uint64 `json:"excluded"` // of holders that the rules exclude
	LastError string `json:"trouble,omitempty"`
}

// Built reports whether the partition has reached its goal.
func (p *PartitionProgress) Built() bool { return p.Position >= p.Goal }

// Built reports whether workers have, between them, built that many partitions.
func Built(progress []Progress, partitions int) bool {
	built := map[int]bool{}
	for _, w := range progress {
		for i := range w.Partitions {
			built[w.Partitions[i].Partition] = built[w.Partitions[i].Partition] || w.Partitions[i].Built()
		}
	}
	for p := range partitions {
		if !built[p] {
			return false
		}
	}
	return true
}
