package transfers

import (
	"errors"
	"fmt"

	"holdmetrics/ingest/numbers"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/times"
)

// What can be wrong with rows. Each comes wrapped in a [rows.Error], which
// names file and line.
var (
	ErrOverdraw  = errors.New("the sender does not have what it sends")
	ErrOwner     = errors.New("the sender does not own this token")
	ErrTwice     = errors.New("the token already has an owner")
	ErrTooLarge  = errors.New("the value has more than 37 digits before the point")
	ErrPlaces    = errors.New("the value has more than 18 digits after the point")
	ErrValue     = errors.New("the value is not a whole or decimal number")
	ErrDecimals  = errors.New("the decimals do not fit")
	ErrTime      = errors.New("the time is not one after 1970 and up to 2200")
	ErrBlock     = errors.New("the block has no time")
	ErrToken     = errors.New("the token is empty")
	ErrHolder    = errors.New("the holder is empty")
	ErrType      = errors.New("the type of the token is unknown")
	ErrMark      = errors.New("the mark of a removed log is neither true nor false")
	ErrBatch     = errors.New("the ids and the values of a batch do not match")
	ErrIdentity  = errors.New("the same log has other content")
	ErrRemoved   = errors.New("a removed log needs the columns of its transaction and its log index")
	ErrStatement = errors.New("the statements of balance contradict each other")
	ErrColumns   = errors.New("the options do not fit the columns")
	ErrOpening   = errors.New("the opening balances do not fit")
	ErrBranch    = errors.New("the new branch ends before the one that it replaces (wait for its later blocks)")
	ErrRetracted = errors.New("the new branch says again what an earlier reorganisation retracted, and what was retracted stays so: send these blocks as events with hold_id and revision ('import events'), or import blocks when they are final")
	ErrClosing   = errors.New("the closing balances cannot be kept there")
)

// MaxDecimals is the largest number of decimals of a token.
const MaxDecimals = 36

// Columns names the columns of a file. An empty name means that the preset
// finds the column, if the file has it.
type Columns struct {
	Token, Value, Time           string
	From, To                     string // of transfers
	Holder, ValidFrom, ValidTo   string // of statements of balance, whose Value is the balance
	Block                        string // number of the block
	Tx, LogIndex, Batch, Removed string // identity of a row
	ID, Type, Decimals           string
}

// IDs is how ids are normalised before anything is counted.
type IDs int

// The ways.
const (
	IDsNone IDs = iota // as they stand
	IDsEVM             // 0x and 40 hex digits: in lower case
	IDsAuto            // as IDsEVM, if every id of the column is such an address
)

// Round is what becomes of digits beyond the 18th after the point.
type Round int

// The ways.
const (
	RoundNever    Round = iota // the value is refused
	RoundDown                  // they are cut
	RoundHalfEven              // to the nearest, to the even one of two
)

// Options are how files are read.
type Options struct {
	Columns Columns
	Preset  string // name of a preset; empty: auto

	Statements bool // rows are statements of balance, not transfers
	Snapshots  bool // statements at one time are complete: who is missing has nothing
	NFT        bool // the value column is a token id: "<token>/<id>" is a token of weight 1

	Decimals        int            // the value is divided by 10^Decimals; 0 to 36
	DecimalsGiven   bool           // Decimals beats the column of a preset
	DecimalsOfToken map[string]int // beats both
	Round           Round

	Holders, Tokens    IDs
	Null               []string // holders that are nobody, beside the zero address and empty ones
	TokenIs            []string // only these tokens; empty: all
	TokenIsNot         []string // not these
	TokenValue         string   // the token of files without a column of it
	SkipBadTokens      bool     // a token whose rows do not add up is left out, else it is an error
	Checkpoints        []string // files of statements that correct the balances between transfers
	CheckpointsColumns Columns

	Times   times.Reader
	Numbers numbers.Format
	Blocks  []string // files of block numbers and their times
	ByBlock bool     // the time of a row is its block number, as seconds

	// Unchecked lets Events yield events before all rows were checked, for a caller
	// that throws them away on an error.
	Unchecked bool
	// Read is called with every count of bytes taken from the disk; may be nil.
	Read func(n int)
}

// trim cuts white space off the ids that the options name.
func (o *Options) trim() {
	o.TokenValue = rows.Trim(o.TokenValue)
	o.TokenIs, o.TokenIsNot = trimAll(o.TokenIs), trimAll(o.TokenIsNot)
	decimals := o.DecimalsOfToken
	o.DecimalsOfToken = make(map[string]int, len(decimals))
	for token, n := range decimals {
		o.DecimalsOfToken[rows.Trim(token)] = n
	}
}

func trimAll(ids []string) []string {
	trimmed := make([]string, len(ids))
	for i, id := range ids {
		trimmed[i] = rows.Trim(id)
	}
	return trimmed
}

func (o *Options) check() error {
	decimals := []int{o.Decimals}
	for _, n := range o.DecimalsOfToken {
		decimals = append(decimals, n)
	}
	for _, n := range decimals {
		if n < 0 || n > MaxDecimals {
			return fmt.Errorf("transfers: decimals %d are not between 0 and %d", n, MaxDecimals)
		}
	}
	switch {
	case o.NFT && (o.Decimals != 0 || o.Columns.Decimals != "" || len(o.DecimalsOfToken) > 0):
		return errors.New("transfers: the id of an NFT has no decimals")
	case o.NFT && o.Columns.ID != "":
		return errors.New("transfers: NFT takes ids from the column of the value, and Columns.ID names another one")
	case o.NFT && o.Statements:
		return errors.New("transfers: statements of balance have amounts: name the column of the id")
	case o.ByBlock && len(o.Blocks) > 0:
		return errors.New("transfers: ByBlock needs no times of blocks")
	case o.Preset != "" && !knownPreset(o.Preset):
		return fmt.Errorf("transfers: preset %q is not one of %s", o.Preset, presetNames())
	}
	return o.Numbers.Check()
}
