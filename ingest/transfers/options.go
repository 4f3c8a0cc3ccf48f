package transfers

import (
	"errors"
	"fmt"
)

// What can be wrong with rows. Each comes wrapped in a [rows.Error], which
// names file and line.
var (
	ErrOrder     = errors.New("the row is earlier than the one before it")
	ErrOverdraw  = errors.New("the sender does not have what it sends")
	ErrOwner     = errors.New("the sender does not own this token")
	ErrTwice     = errors.New("the token already has an owner")
	ErrTooLarge  = errors.New("the value has more than 37 digits before the point")
	ErrValue     = errors.New("the value is not a whole or decimal number")
	ErrTime      = errors.New("the time is none of: unix seconds, RFC 3339, 2006-01-02 15:04:05 UTC; after 1970 and up to 2200")
	ErrAddress   = errors.New("an address or the token is empty")
	ErrOpening   = errors.New("the opening balances do not fit")
	ErrBranch    = errors.New("the new branch does not reach as far as the one that it replaces (wait for its later blocks)")
	ErrRetracted = errors.New("the new branch says again what an earlier reorganisation retracted, and what was retracted stays so: send these blocks as events with hold_id and revision ('import events'), or import blocks when they are final")
	ErrClosing   = errors.New("the closing balances cannot be kept there")
)

// Columns names the columns of a CSV file of transfers.
type Columns struct {
	Token, From, To, Value, Time string
}

// DefaultColumns are the names that ethereum-etl gives.
func DefaultColumns() Columns {
	return Columns{
		Token: "token_address",
		From:  "from_address",
		To:    "to_address",
		Value: "value",
		Time:  "block_timestamp",
	}
}

// Options says how rows are read.
type Options struct {
	Columns  Columns
	Decimals int         // the value is divided by 10^Decimals; 0 to 18
	NFT      bool        // the value column is a token id: "<token>/<id>" is a token of weight 1
	Read     func(n int) // is told of every count of bytes taken from the disk; may be nil
}

func (o *Options) check() error {
	if o.Decimals < 0 || o.Decimals > MaxDecimals {
		return fmt.Errorf("transfers: Decimals %d is not between 0 and %d", o.Decimals, MaxDecimals)
	}
	if o.NFT && o.Decimals != 0 {
		return errors.New("transfers: the id of an NFT has no decimals")
	}
	return nil
}
