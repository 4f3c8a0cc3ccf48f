package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/numbers"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/sharded"
	"holdmetrics/ingest/times"
	"holdmetrics/ingest/transfers"
)

// replacesFlag is the flag of an import that takes the place of another one.
const replacesFlag = "replaces"

// readingFlags are how the texts of a file are read.
type readingFlags struct {
	utc       bool
	unit      string
	thousands string
}

func (o *readingFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.utc, "utc", false, "take times without a zone as UTC")
	f.StringVar(&o.unit, "time-unit", "s", "unit of times that are numbers: s, ms, us or ns")
	f.StringVar(&o.thousands, "thousands", "", "`separator` of thousands in numbers: , . ' _ or a space")
}

func (o *readingFlags) readers() (times.Reader, numbers.Format, error) {
	unit, err := times.ParseUnit(o.unit)
	if err != nil {
		return times.Reader{}, numbers.Format{}, usage.Errorf("--time-unit: %w", err)
	}
	format := numbers.Format{Thousands: o.thousands}
	if err := format.Check(); err != nil {
		return times.Reader{}, format, usage.Errorf("--thousands %q: %w", o.thousands, err)
	}
	return times.Reader{UTC: o.utc, Unit: unit, Hint: "give --utc if it is UTC"}, format, nil
}

// fileFlags are the flags of 'transfers' and 'balances', for import and score alike.
type fileFlags struct {
	readingFlags
	opt              transfers.Options
	decimals         []string
	ids              string
	badTokens        string
	round            string
	by               string
	opening, closing string
	append           bool
	c                *cobra.Command
}

// otherNames are further spellings of flags: those of earlier versions, and with or
// without -column.
var otherNames = map[string]string{
	"token": "token-column", "value": "value-column", "time": "time-column", "block": "block-column",
	"holder": "holder-column", "balance": "balance-column",
	"valid-from": "valid-from-column", "valid-to": "valid-to-column",
	"id-column": "id", "type-column": "type", "tx-column": "tx", "log-index-column": "log-index",
	"batch-column": "batch", "removed": "removed-column", "preset-columns": "preset",
}

// transferFlags are the flags of 'transfers'.
func transferFlags(c *cobra.Command) *fileFlags {
	o := &fileFlags{c: c}
	f := c.Flags()
	columns := &o.opt.Columns
	f.StringVar(&columns.From, "from-column", "", "`column` of the sender")
	f.StringVar(&columns.To, "to-column", "", "`column` of the receiver")
	f.StringVar(&columns.Value, "value-column", "", "`column` of the value")
	f.StringVar(&columns.Tx, "tx", "", "`column` of the transaction: with --log-index, an equal row counts once")
	f.StringVar(&columns.LogIndex, "log-index", "", "`column` of the log's index in its block")
	f.StringVar(&columns.Batch, "batch", "", "`column` of the place in a batch, if its transfers are rows")
	f.StringVar(&columns.Removed, "removed-column", "", "`column` that is true if a reorganisation removed the log")
	f.StringVar(&columns.Type, "type", "", "`column` of the token's type: 20, 721, 1155 or their names")
	f.StringVar(&o.opt.Preset, "preset", "", "columns of a `source`: "+strings.Join(transfers.PresetNames(), ", "))
	f.BoolVar(&o.opt.NFT, "nft", false, "the value is a token id: each id is a token \"<token>/<id>\" of weight 1")
	f.StringArrayVar(&o.opt.Checkpoints, "checkpoint", nil, "`file` of balances that correct those of the transfers; may be repeated")
	o.common()
	return o
}

// balanceFlags are the flags of 'balances'.
func balanceFlags(c *cobra.Command) *fileFlags {
	o := &fileFlags{c: c}
	o.opt.Statements = true
	f := c.Flags()
	columns := &o.opt.Columns
	f.StringVar(&columns.Holder, "holder-column", "", "`column` of the holder")
	f.StringVar(&columns.Value, "balance-column", "", "`column` of the balance")
	f.StringVar(&columns.ValidFrom, "valid-from-column", "", "`column` of the time from which the balance stands")
	f.StringVar(&columns.ValidTo, "valid-to-column", "", "`column` of the time to which it stands; empty or 9999-12-31: still")
	f.BoolVar(&o.opt.Snapshots, "snapshots", false, "each time has everybody's balance: who is missing has none")
	o.common()
	return o
}

func (o *fileFlags) common() {
	f := o.c.Flags()
	columns := &o.opt.Columns
	f.StringVar(&columns.Token, "token-column", "", "`column` of the token")
	f.StringVar(&columns.Time, "time-column", "", "`column` of the time; see --utc and --time-unit")
	f.StringVar(&columns.Block, "block-column", "", "`column` of the block's number, for --blocks and --by block")
	f.StringVar(&columns.ID, "id", "", "`column` of token ids beside the amounts: each id is a token \"<token>/<id>\"")
	f.StringVar(&columns.Decimals, "decimals-column", "", "`column` of the decimals of the row's token")
	f.StringArrayVar(&o.decimals, "decimals", nil, "divide by 10 to the power of `N` (0 to 36); TOKEN=N for one token; may be repeated")
	f.StringVar(&o.opt.TokenValue, "token-value", "", "`name` of the token, if the file is of one token")
	f.StringArrayVar(&o.opt.Null, "null", nil, "`id` that is nobody, beside the zero address; may be repeated")
	f.StringArrayVar(&o.opt.TokenIs, "token-is", nil, "only this `token`; may be repeated")
	f.StringArrayVar(&o.opt.TokenIsNot, "token-is-not", nil, "not this `token`; may be repeated")
	f.StringVar(&o.ids, "ids", "", "none, evm (addresses in lower case) or auto (default: that of the rules, else auto)")
	f.StringVar(&o.badTokens, "on-bad-token", "fail", "fail, or skip a token whose rows do not add up")
	f.StringVar(&o.round, "round", "", "cut digits beyond the 18th place: down or half-even (default: refuse them)")
	f.StringArrayVar(&o.opt.Blocks, "blocks", nil, "`file` with the number and timestamp of blocks; may be repeated")
	f.StringVar(&o.by, "by", "time", "time, or block: a block is a second")
	f.StringVar(&o.opening, "opening", "", "`file` of balances to start from, as --closing wrote it")
	f.StringVar(&o.closing, "closing", "", "`file` to write the balances at the end to (.gz: packed); the one of --opening may be named")
	o.readingFlags.flags(o.c)
	statements := o.opt.Statements
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if other, ok := otherNames[name]; ok {
			name = other
		}
		if statements && name == "value-column" {
			name = "balance-column"
		}
		return pflag.NormalizedName(name)
	})
}

// fromAndTo takes --from and --to as columns, as in earlier versions, if they cannot be
// times. import has no window, so that a time there is an error.
func (o *fileFlags) fromAndTo(opt *transfers.Options, score bool) error {
	if opt.Statements {
		return nil
	}
	for _, old := range []struct {
		name   string
		column *string
	}{{"from", &opt.Columns.From}, {"to", &opt.Columns.To}} {
		flag := o.c.Flags().Lookup(old.name)
		if flag == nil || !flag.Changed {
			continue
		}
		text := flag.Value.String()
		if !isColumn(text) {
			if score {
				continue
			}
			return usage.Errorf("--%s %q: an import has no window; write --%s-column for a column", old.name, text, old.name)
		}
		if *old.column != "" {
			return usage.Errorf("--%s and --%s-column both name a column", old.name, old.name)
		}
		fmt.Fprintf(o.c.ErrOrStderr(), "holdmetrics: warning: --%s %s is taken as a column; write --%s-column\n", old.name, rows.Safe(text), old.name)
		*old.column = text
	}
	return nil
}

// appendFlag lets an import go on from the balances that the server has.
func (o *fileFlags) appendFlag() {
	o.c.Flags().BoolVar(&o.append, "append", false, "start from the balances of the server, of the pairs in the files")
}

// complete makes the options of the flags.
func (o *fileFlags) complete(use sourceUse) (opt transfers.Options, err error) {
	opt = o.opt
	if opt.Times, opt.Numbers, err = o.readers(); err != nil {
		return opt, err
	}
	if err := o.readDecimals(&opt); err != nil {
		return opt, err
	}
	if err := o.fromAndTo(&opt, use.score); err != nil {
		return opt, err
	}
	if opt.NFT && (o.decimals != nil || opt.Columns.Decimals != "") && (opt.Decimals != 0 || opt.Columns.Decimals != "" || len(opt.DecimalsOfToken) > 0) {
		return opt, usage.Errorf("--decimals does not go with --nft: the id of an NFT has no decimals")
	}
	if opt.NFT && opt.Columns.ID != "" {
		return opt, usage.Errorf("--nft takes ids from the column of the value; leave it out beside --id")
	}
	switch o.ids {
	case "":
		if o.c.Flags().Changed("ids") {
			return opt, usage.Errorf("--ids is empty; give none, evm or auto")
		}
		if opt.Holders, opt.Tokens, err = use.ids(); err != nil {
			return opt, err
		}
	case "none":
		opt.Holders, opt.Tokens = transfers.IDsNone, transfers.IDsNone
	case "evm":
		opt.Holders, opt.Tokens = transfers.IDsEVM, transfers.IDsEVM
	case "auto":
		opt.Holders, opt.Tokens = transfers.IDsAuto, transfers.IDsAuto
	default:
		return opt, usage.Errorf("--ids %q is not none, evm or auto", o.ids)
	}
	switch o.badTokens {
	case "fail", "skip":
		opt.SkipBadTokens = o.badTokens == "skip"
	default:
		return opt, usage.Errorf("--on-bad-token %q is not fail or skip", o.badTokens)
	}
	switch o.round {
	case "":
	case "down":
		opt.Round = transfers.RoundDown
	case "half-even":
		opt.Round = transfers.RoundHalfEven
	default:
		return opt, usage.Errorf("--round %q is not down or half-even", o.round)
	}
	switch o.by {
	case "time", "block":
		opt.ByBlock = o.by == "block"
	default:
		return opt, usage.Errorf("--by %q is not time or block", o.by)
	}
	if opt.ByBlock && len(opt.Blocks) > 0 {
		return opt, usage.Errorf("--blocks does not go with --by block, which needs no times")
	}
	if opt.Preset != "" && !slices.Contains(transfers.PresetNames(), opt.Preset) {
		return opt, usage.Errorf("--preset %q is not one of %s", opt.Preset, strings.Join(transfers.PresetNames(), ", "))
	}
	for flag, name := range map[string]string{"opening": o.opening, "closing": o.closing} {
		if name == "" && o.c.Flags().Changed(flag) {
			return opt, usage.Errorf("--%s is empty; name a file", flag)
		}
	}
	if o.append && (o.opening != "" || o.c.Flags().Lookup(replacesFlag) != nil && o.c.Flags().Changed(replacesFlag)) {
		return opt, usage.Errorf("--append takes the balances of the server; leave out --opening and --%s", replacesFlag)
	}
	opt.Unchecked = use.score
	opt.Read = use.read
	return opt, nil
}

func (o *fileFlags) readDecimals(opt *transfers.Options) error {
	for _, text := range o.decimals {
		token, number, of := text, text, false
		if i := strings.LastIndexByte(text, '='); i >= 0 {
			token, number, of = text[:i], text[i+1:], true
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return usage.Errorf("--decimals %q is neither a number nor TOKEN=NUMBER", text)
		}
		if n < 0 || n > transfers.MaxDecimals {
			return usage.Errorf("--decimals %s is not between 0 and %d", text, transfers.MaxDecimals)
		}
		if !of {
			opt.Decimals, opt.DecimalsGiven = n, true
			continue
		}
		if opt.DecimalsOfToken == nil {
			opt.DecimalsOfToken = map[string]int{}
		}
		opt.DecimalsOfToken[token] = n
	}
	return nil
}

// open makes the source.
func (o *fileFlags) open(files []string, use sourceUse) (*source, error) {
	opt, err := o.complete(use)
	if err != nil {
		return nil, err
	}
	if o.closing != "" {
		if err := transfers.CheckClosing(o.closing, files...); err != nil {
			return nil, fmt.Errorf("--closing: %w", err)
		}
	}
	ledger, err := openLedger(opt, o.opening)
	if err != nil {
		return nil, err
	}
	s := &source{
		events:  func(ctx context.Context) iter.Seq2[rows.Event, error] { return ledger.Events(ctx, files...) },
		rows:    func() int64 { return ledger.Rows() },
		summary: func() *summaries { return summarize(ledger.Summary(), opt.Preset != "", opt.ByBlock) },
		byBlock: opt.ByBlock, snapshots: opt.Snapshots,
		ledger: ledger,
		load:   func(ctx context.Context) error { return ledger.Load(ctx, files...) },
	}
	if o.opening == "" {
		s.score = func(ctx context.Context, terms sharded.Terms) (*sharded.Set, error) {
			quick, set, err := transfers.Score(ctx, opt, terms, files...)
			if err == nil {
				ledger, s.ledger = quick, quick
			}
			return set, err
		}
	}
	if o.opening != "" {
		s.opening = fromFile
	}
	if o.append {
		s.opening = fromServer
	}
	if o.c.Flags().Lookup(replacesFlag) != nil && o.c.Flags().Changed(replacesFlag) {
		if err := o.replace(s, ledger, opt, files); err != nil {
			return nil, err
		}
	}
	if o.closing != "" {
		s.done = func() error {
			if err := ledger.SaveClosing(o.closing); err != nil {
				return fmt.Errorf("the closing balances were not written: %w", err)
			}
			return nil
		}
	}
	return s, nil
}

// replace makes the source one that takes the place of other files.
func (o *fileFlags) replace(s *source, ledger *transfers.Ledger, opt transfers.Options, files []string) error {
	abandoned, err := o.c.Flags().GetStringArray(replacesFlag)
	if err != nil {
		return err
	}
	if files[len(files)-1] == "-" {
		return usage.Errorf("--%s does not go with the standard input: the list of what is retracted is kept beside the last FILE", replacesFlag)
	}
	opt.Read = nil // the bar is of the files that are imported
	old, err := openLedger(opt, o.opening)
	if err != nil {
		return err
	}
	s.opening = fromFile
	s.events = func(ctx context.Context) iter.Seq2[rows.Event, error] {
		return ledger.Replace(ctx, old, abandoned, files)
	}
	return nil
}

func openLedger(opt transfers.Options, opening string) (*transfers.Ledger, error) {
	ledger, err := transfers.New(opt)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	if opening != "" {
		err = ledger.LoadOpening(opening)
	}
	return ledger, err
}

// errBadTokens means that tokens were left out.
var errBadTokens = errors.New("left out, as --on-bad-token skip asks")
