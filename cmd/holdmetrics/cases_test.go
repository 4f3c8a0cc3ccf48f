package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	gold  = "0x1111111111111111111111111111111111111111"
	lead  = "0x2222222222222222222222222222222222222222"
	ann   = "0x00000000000000000000000000000000000000aa"
	annUp = "0x00000000000000000000000000000000000000AA"
	ben   = "0x00000000000000000000000000000000000000bb"
	zeros = "0x0000000000000000000000000000000000000000"
)

// scored runs score and returns the scores by "holder" or, by token, "token holder".
func scored(t *testing.T, args ...string) (scores map[string]string, errText string, code int) {
	t.Helper()
	args = append(append([]string{"score"}, args...), "--format", "csv")
	var out, errOut bytes.Buffer
	code = run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errOut})
	scores = map[string]string{}
	records, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		if i == 0 {
			continue
		}
		if records[0][0] == "token_id" {
			scores[r[0]+" "+r[1]] = r[2]
		} else {
			scores[r[0]] = r[1]
		}
	}
	return scores, errOut.String(), code
}

// situation is files as people really have them, and what comes of them.
type situation struct {
	name  string
	files map[string]string
	args  []string // file names without a folder are those of files
	want  map[string]string
	code  int
	err   string // a part of what is said
}

const transfersHeader = "token_address,from_address,to_address,value,block_timestamp\n"
const logHeader = "token_address,from_address,to_address,value,block_timestamp,transaction_hash,log_index,removed\n"

// rowsOf makes rows of words: names of ids, and numbers as they stand.
func rowsOf(header string, lines ...string) string {
	words := strings.NewReplacer("GOLD", gold, "LEAD", lead, "ANN", annUp, "ann", ann, "ben", ben, "zero", zeros)
	return header + words.Replace(strings.Join(lines, "\n")) + "\n"
}

var situations = []situation{
	{
		name:  "one bad token, by default",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "GOLD,zero,ann,10,100", "LEAD,ann,ben,4,110", "GOLD,ann,ben,4,120")},
		args:  []string{"transfers", "a.csv", "--as-of", "200", "--by-token"}, code: 1, err: "a.csv:3: the sender does not have what it sends", want: map[string]string{},
	},
	{
		name:  "one bad token, skipped",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "GOLD,zero,ann,10,100", "LEAD,ann,ben,4,110", "GOLD,ann,ben,4,120", "LEAD,zero,ben,1,130")},
		args:  []string{"transfers", "a.csv", "--as-of", "200", "--by-token", "--on-bad-token", "skip"}, code: 1,
		err: "token " + lead + " is left out: ", want: map[string]string{gold + " " + ann: "680", gold + " " + ben: "320"},
	},
	{
		name:  "an absurd value, and an empty one",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "LEAD,zero,ann,1"+strings.Repeat("0", 77)+",90", "LEAD,zero,ben,,95", "GOLD,zero,ann,10,100")},
		args:  []string{"transfers", "a.csv", "--as-of", "200", "--on-bad-token", "skip"}, code: 1, err: "more than 37 digits", want: map[string]string{ann: "1000"},
	},
	{
		name:  "tokens picked",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "LEAD,ben,ann,1,90", "GOLD,zero,ann,10,100")},
		args:  []string{"transfers", "a.csv", "--as-of", "200", "--token-is-not", strings.ToUpper(lead[2:3]) + lead[3:], "--token-is", gold}, want: map[string]string{ann: "1000"},
	},
	{
		name:  "one address in two spellings, by itself",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "GOLD,zero,ann,10,100", "GOLD,zero,ANN,5,110", "GOLD,ANN,ben,12,120")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{ann: "490", ben: "960"}, err: "compared in lower case",
	},
	{
		name:  "one address in two spellings, left as they are",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "GOLD,zero,ann,10,100", "GOLD,zero,ANN,5,110")},
		args:  []string{"transfers", "a.csv", "--as-of", "200", "--ids", "none"}, want: map[string]string{ann: "1000", annUp: "450"}, err: "differ in case",
	},
	{
		name: "one address in two spellings, by rules that say so, beside ids of another kind",
		files: map[string]string{
			"a.csv":      rowsOf(transfersHeader, "GOLD,zero,ann,10,100", "GOLD,zero,ANN,5,110", "GOLD,zero,treasury,1,120"),
			"rules.yaml": "policy: merge\nids: evm\n",
		},
		args: []string{"transfers", "a.csv", "--as-of", "200", "--rules", "rules.yaml"}, want: map[string]string{ann: "1450", "treasury": "80"},
	},
	{
		name:  "nobody in many spellings",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,,a,1,100", "T,null,a,1,100", "T,None,a,1,100", "T,\\x00,a,1,100", "T,"+strings.Repeat("0", 64)+",a,1,100", "T,0x"+strings.Repeat("0", 64)+",a,1,100", "T,bridge,a,1,100")},
		args:  []string{"transfers", "a.csv", "--as-of", "200", "--null", "bridge"}, want: map[string]string{"a": "700"},
	},
	{
		name: "overlapping pages, in any order",
		files: map[string]string{
			"1.csv": rowsOf(logHeader, "T,zero,a,10,100,0xAB,7,", "T,a,b,4,110,0xcd,0x1,"),
			"2.csv": rowsOf(logHeader, "T,a,b,4,110,0xCD,1,", "T,b,a,1,120,0xef,2,false"),
		},
		args: []string{"transfers", "2.csv", "1.csv", "--as-of", "200"}, want: map[string]string{"a": "720", "b": "280"}, err: "duplicates: 1",
	},
	{
		name:  "equal rows of two logs count twice",
		files: map[string]string{"a.csv": rowsOf(logHeader, "T,zero,a,10,100,0xab,7,", "T,zero,a,10,100,0xab,8,")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "2000"},
	},
	{
		name:  "equal rows without an identity are counted, with a warning",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,a,10,100", "T,zero,a,10,100")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "2000"}, err: "warning: equal in everything",
	},
	{
		name:  "one log with two contents",
		files: map[string]string{"a.csv": rowsOf(logHeader, "T,zero,a,10,100,0xab,7,", "T,zero,a,11,100,0xab,7,")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{}, code: 1, err: "the same log has other content",
	},
	{
		name:  "logs taken back, and one that was never there",
		files: map[string]string{"a.csv": rowsOf(logHeader, "T,zero,a,10,100,0xab,7,false", "T,zero,a,5,110,0xcd,1,false", "T,zero,a,5,110,0xcd,1,true", "T,zero,a,5,120,0xef,1,true")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "1000"}, err: "taken back: 1",
	},
	{
		name: "block numbers, with the times of the blocks",
		files: map[string]string{
			"a.csv": "token_address,from_address,to_address,value,transaction_hash,log_index,block_number\nT," + zeros + ",a,10,0xab,0,7\nT,a,b,4,0xcd,1,9\n",
			"b.csv": "number,hash,timestamp\n7,0x7,100\n8,0x8,110\n9,0x9,120\n",
		},
		args: []string{"transfers", "a.csv", "--blocks", "b.csv", "--as-of", "200"}, want: map[string]string{"a": "680", "b": "320"},
	},
	{
		name: "a block without a time",
		files: map[string]string{
			"a.csv": "token_address,from_address,to_address,value,block_number\nT," + zeros + ",a,10,8\n", "b.csv": "number,timestamp\n7,100\n",
		},
		args: []string{"transfers", "a.csv", "--blocks", "b.csv"}, want: map[string]string{}, code: 1, err: "the block has no time: 8 is not in ",
	},
	{
		name:  "by block",
		files: map[string]string{"a.csv": "token_address,from_address,to_address,value,block_number\nT," + zeros + ",a,10,7\nT,a,b,4,9\n"},
		args:  []string{"transfers", "a.csv", "--by", "block", "--as-of", "12"}, want: map[string]string{"a": "38", "b": "12"}, err: "a block is a second",
	},
	{
		name:  "shards put together",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,a,10,100", strings.TrimSpace(transfersHeader), "T,a,b,4,120")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "680", "b": "320"}, err: "header lines: 1",
	},
	{
		name:  "decimals by column",
		files: map[string]string{"a.csv": "token_address,from_address,to_address,value,block_timestamp,places\nT,,a,2500000,100,6\nU,,a,1,100,0\n"},
		args:  []string{"transfers", "a.csv", "--decimals-column", "places", "--as-of", "200", "--by-token"}, want: map[string]string{"T a": "250", "U a": "100"},
	},
	{
		name:  "decimals by token, one of 24",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,,a,2500000000000000000000000,100", "U,,a,300,100")},
		args:  []string{"transfers", "a.csv", "--decimals", "2", "--decimals", "T=24", "--as-of", "200", "--by-token"}, want: map[string]string{"T a": "250", "U a": "300"},
	},
	{
		name:  "digits beyond the 18th place are refused",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,,a,1,100")},
		args:  []string{"transfers", "a.csv", "--decimals", "24", "--as-of", "200"}, want: map[string]string{}, code: 1, err: "--round down",
	},
	{
		name:  "digits beyond the 18th place are cut on request, and balances stay exact",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,,a,1500000,100", "T,,a,600000,110", "T,a,b,2000000,120")},
		args:  []string{"transfers", "a.csv", "--decimals", "24", "--round", "down", "--as-of", "200"},
		want:  map[string]string{"a": "0.00000000000000003", "b": "0.00000000000000016"}, err: "rounded: ",
	},
	{
		name:  "ids with amounts",
		files: map[string]string{"a.csv": "token_address,from_address,to_address,token_id,value,block_timestamp\nT,,a,0x07,10,100\nT,,a,8,3,100\nT,a,b,007,4,120\n"},
		args:  []string{"transfers", "a.csv", "--id", "token_id", "--value", "value", "--as-of", "200", "--by-token"},
		want:  map[string]string{"T/7 a": "680", "T/7 b": "320", "T/8 a": "300"},
	},
	{
		name:  "batches of ids",
		files: map[string]string{"a.csv": "token_address,from_address,to_address,ids,values,block_timestamp\nT,,a,\"[7, 8]\",\"[10, 3]\",100\nT,a,b,{0x8},{1},120\n"},
		args:  []string{"transfers", "a.csv", "--id", "ids", "--value", "values", "--as-of", "200", "--by-token"},
		want:  map[string]string{"T/7 a": "1000", "T/8 a": "220", "T/8 b": "80"},
	},
	{
		name: "types of tokens, and an id of 78 digits",
		files: map[string]string{"a.csv": "token_address,from_address,to_address,token_id,value,block_timestamp,kind\nT,,a,,10,100,ERC-20\nN,,a,0x" + strings.Repeat("f", 64) +
			",1,100,erc721\nM,,a,5,3,100,1155\n"},
		args: []string{"transfers", "a.csv", "--type", "kind", "--as-of", "200", "--by-token"},
		want: map[string]string{"T a": "1000", "N/115792089237316195423570985008687907853269984665640564039457584007913129639935 a": "100", "M/5 a": "300"},
	},
	{
		name:  "amounts where ids are expected",
		files: map[string]string{"a.csv": "token_address,from_address,to_address,token_id,value,block_timestamp\nT,,a,7,10,100\n"},
		args:  []string{"transfers", "a.csv", "--nft"}, want: map[string]string{}, code: 1, err: "give --id token_id --value value",
	},
	{
		name:  "statements of balance",
		files: map[string]string{"a.csv": "token_id,holder_id,balance,time\nT,a,10,100\nT,a,0,120\nT,b,3,110\nT,a,2,130\nT,a,2,140\n"},
		args:  []string{"balances", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "340", "b": "270"},
	},
	{
		name:  "balances as intervals",
		files: map[string]string{"a.csv": "token_id,holder_id,balance,valid_from,valid_to\nT,a,10,2026-01-01,2026-01-02\nT,a,5,2026-01-02,9999-12-31\nT,b,1,2026-01-01,\n"},
		args:  []string{"balances", "a.csv", "--as-of", "2026-01-03"}, want: map[string]string{"a": "1296000", "b": "172800"},
	},
	{
		name:  "intervals that overlap",
		files: map[string]string{"a.csv": "token_id,holder_id,balance,valid_from,valid_to\nT,a,10,100,120\nT,a,5,110,130\n"},
		args:  []string{"balances", "a.csv"}, want: map[string]string{}, code: 1, err: "contradict each other",
	},
	{
		name:  "snapshots",
		files: map[string]string{"a.csv": "token_id,holder_id,balance,time\nT,a,10,100\nT,b,1,100\nT,b,2,110\nT,a,4,120\nT,b,2,120\n"},
		args:  []string{"balances", "a.csv", "--snapshots", "--as-of", "200"}, want: map[string]string{"a": "420", "b": "190"},
	},
	{
		name: "checkpoints between transfers",
		files: map[string]string{
			"a.csv": rowsOf(transfersHeader, "T,,a,10,100", "T,a,b,4,130"),
			"b.csv": "token_id,holder_id,balance,time\nT,a,12,110\n",
		},
		args: []string{"transfers", "a.csv", "--checkpoint", "b.csv", "--as-of", "200"}, want: map[string]string{"a": "900", "b": "280"}, err: "checkpoints corrected T by 2",
	},
	{
		name:  "numbers as exports write them",
		files: map[string]string{"a.csv": "token_address;from_address;to_address;value;block_timestamp\nT;;a;1,000.50;100\nT;;a;1e2;100\nT;;a;0x0a;100\nT;;a;+05.0;100\n"},
		args:  []string{"transfers", "a.csv", "--thousands", ",", "--as-of", "200"}, want: map[string]string{"a": "111550"},
	},
	{
		name:  "times of events as exports write them",
		files: map[string]string{"a.csv": "token_id,holder_id,start,end\nT,a,1970-01-01 00:01:40+00,1970-01-01t00:02:00z\nT,b,1970-01-01 00:01:40.500 UTC,1970-01-01 01:01:59+01\nT,c,100.5,9999-12-31\n"},
		args:  []string{"events", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "20", "b": "18.5", "c": "99.5"},
	},
	{
		name:  "times without a zone",
		files: map[string]string{"a.csv": "token_id,holder_id,start\nT,a,2026-01-01 00:00:00\n"},
		args:  []string{"events", "a.csv"}, want: map[string]string{}, code: 1, err: "has no zone: give --utc",
	},
	{
		name:  "times without a zone, in UTC",
		files: map[string]string{"a.csv": "token_id,holder_id,start\nT,a,2026-01-01 00:00\n"},
		args:  []string{"events", "a.csv", "--utc", "--as-of", "2026-01-01 00:01+00"}, want: map[string]string{"a": "60"},
	},
	{
		name:  "milliseconds",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,,a,1,1767225600000")},
		args:  []string{"transfers", "a.csv"}, want: map[string]string{}, code: 1, err: "--time-unit ms",
	},
	{
		name:  "white space around ids",
		files: map[string]string{"a.csv": "token_id, holder_id ,start,end\nT,a,100,110\nT, a\u00a0,110,120\nT\u200b,a ,120,130\n"},
		args:  []string{"events", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "30"},
	},
	{
		name: "events in pretty JSON, and transfers in an array",
		files: map[string]string{
			"a.json": "[\n  {\n    \"token_id\": \"T\",\n    \"holder_id\": \"a\",\n    \"start\": 100,\n    \"end\": \"1970-01-01T00:02:00Z\"\n  }\n]\n",
		},
		args: []string{"events", "a.json", "--as-of", "200"}, want: map[string]string{"a": "20"},
	},
	{
		name:  "transfers of one token without a column, in NDJSON",
		files: map[string]string{"a.json": `{"from_address":null,"to_address":"a","value":"10","block_timestamp":"100"}` + "\n" + `{"from_address":"a","to_address":"b","value":4,"block_timestamp":120}`},
		args:  []string{"transfers", "a.json", "--token-value", "T", "--as-of", "200", "--by-token"}, want: map[string]string{"T a": "680", "T b": "320"},
	},
	{
		name:  "a window, and shares",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,,a,10,100", "T,a,b,4,120")},
		args:  []string{"transfers", "a.csv", "--from", "110", "--to", "130", "--share"}, want: map[string]string{"a": "160", "b": "40"},
	},
	{
		name:  "columns by the flags of earlier versions",
		files: map[string]string{"a.csv": "t,f,r,v,w\nT,,a,10,100\n"},
		args:  []string{"transfers", "a.csv", "--token", "t", "--from", "f", "--to", "r", "--value", "v", "--time", "w", "--as-of", "110"}, want: map[string]string{"a": "100"}, err: "warning: --from f is taken as a column",
	},
	{
		name:  "a time in the future",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,,a,10,100")},
		args:  []string{"transfers", "a.csv", "--as-of", "2199-01-01"}, want: map[string]string{}, code: 2, err: "--projected",
	},
	{
		name:  "a page of HTML",
		files: map[string]string{"a.csv": "<!doctype html><html><body>Not found</body></html>"},
		args:  []string{"transfers", "a.csv"}, want: map[string]string{}, code: 1, err: "it is an HTML page",
	},
}

func TestSituations(t *testing.T) {
	t.Parallel()
	trySituations(t, situations)
}

func trySituations(t *testing.T, all []situation) {
	t.Helper()
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			args := append([]string(nil), s.args...)
			for name, text := range s.files {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				for i := range args {
					if args[i] == name {
						args[i] = path
					}
				}
			}
			got, errText, code := scored(t, args...)
			errText = strings.ReplaceAll(errText, dir+string(filepath.Separator), "")
			if diff := cmp.Diff(s.want, got); diff != "" || code != s.code || !strings.Contains(errText, s.err) {
				t.Errorf("exit %d, want %d, saying %q; said:\n%s%s", code, s.code, s.err, errText, diff)
			}
		})
	}
}

// TestReportedCases runs the inputs of public bug reports, if the folder is there.
func TestReportedCases(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..", "shared", "data", "cases")
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no folder %s with the inputs of public bug reports", root)
	}
	const (
		a, b   = "0xa11ce00000000000000000000000000000000abc", "0xb0b0000000000000000000000000000000000def"
		u, g   = "0xdddddddddddddddddddddddddddddddddddddd06", "0xdddddddddddddddddddddddddddddddddddddd02"
		as     = "--as-of 2026-01-05T00:00:00Z"
		refuse = ""
	)
	both := map[string]string{a: "24192000", b: "10368000"}
	day := map[string]string{a: "8640000"}
	for command, want := range map[string]map[string]string{
		"transfers 01-weth9/transfers.csv":                                                  nil,
		"transfers 01-weth9/transfers.csv --on-bad-token skip":                              both,
		"transfers 02-mixed-case/two-spellings.csv --rules 02-mixed-case/evm.yaml":          {a: "47520000"},
		"transfers 02-mixed-case/one-spelling.csv":                                          {a: "47520000"},
		"transfers 02-mixed-case/token-two-spellings.csv --rules 02-mixed-case/evm.yaml":    {a: "47520000"},
		"transfers 02-mixed-case/overdraw.csv --rules 02-mixed-case/evm.yaml":               both,
		"transfers 02-mixed-case/nft.csv --nft":                                             {a: "86400", b: "259200"},
		"transfers 03-duplicate-rows/dup.csv":                                               {a: "34560000"},
		"transfers 03-duplicate-rows/page1.csv 03-duplicate-rows/page2.csv":                 {a: "40608000", b: "1728000"},
		"transfers 03-duplicate-rows/genuine.csv":                                           {a: "69120000"},
		"transfers 03-duplicate-rows/removed.csv":                                           {a: "34560000"},
		"transfers 03-duplicate-rows/day1.csv 03-duplicate-rows/day2.csv":                   {a: "47520000"},
		"transfers 05-ethereum-etl/token_transfers.csv --blocks 05-ethereum-etl/blocks.csv": both,
		"transfers 05-ethereum-etl/concatenated-shards.csv":                                 both,
		"transfers 06-decimals/transfers.csv --decimals-column token_decimals --by-token":   {u + " " + a: "345600", g + " " + a: "691200"},
		"transfers 06-decimals/near24.csv --decimals 24":                                    {"alice.near": "518400"},
		"transfers 07-erc1155/transfers.csv --nft --value token_id":                         nil,
		"transfers 07-erc1155/transfers.csv --id token_id --value value --by-token":         {g + "/7 " + a: "2419200", g + "/7 " + b: "1036800", g + "/8 " + a: "1036800"},
		"transfers 07-erc1155/batch.csv --id ids --value values --by-token":                 {g + "/7 " + a: "3456000", g + "/8 " + a: "1036800"},
		"balances 10-balance-intervals/dune.csv":                                            {"alice": "27648000"},
		"events 10-balance-intervals/dune.csv":                                              {"alice": "27648000"},
		"balances 10-balance-intervals/gauge.csv":                                           {"alice": "18144000"},
		"transfers 12-poison-token/transfers.csv --on-bad-token skip":                       both,
		"transfers 12-poison-token/long-token-name.csv --on-bad-token skip":                 both,
		"transfers 13-times/t-dune.csv":                                                     day,
		"transfers 13-times/t-postgres.csv":                                                 day,
		"transfers 13-times/t-ms.csv":                                                       nil,
		"transfers 13-times/t-ms.csv --time-unit ms":                                        day,
		"transfers 13-times/t-naive.csv":                                                    nil,
		"transfers 13-times/t-naive.csv --utc":                                              day,
		"events 13-times/e-date.csv":                                                        {"alice": "8640000"},
		"events 13-times/e-lower.csv":                                                       {"alice": "8640000"},
		"events 13-times/e-pandas.csv":                                                      {"alice": "8640000"},
		"events 13-times/e-postgres.csv":                                                    {"alice": "8640000"},
		"events 13-times/e-leap.csv":                                                        {"alice": "1000"},
		"events 21-whitespace/events.csv":                                                   {"alice": "345600"},
		"transfers 21-whitespace/transfers.csv":                                             {a: "47520000"},
		"events 29-json-forms/array.json":                                                   {"alice": "86400", "bob": "86400"},
		"transfers 29-json-forms/transfers.ndjson":                                          {a: "34560000"},
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(command + " " + as)
			for i := range args {
				if strings.Contains(args[i], "/") {
					args[i] = filepath.Join(root, filepath.FromSlash(args[i]))
				}
			}
			got, errText, code := scored(t, args...)
			skips := strings.Contains(command, "skip")
			switch {
			case want == nil && (code != exitFailed || len(got) > 0 || errText == refuse):
				t.Errorf("exit %d, %v: it is not refused", code, got)
			case want != nil && (cmp.Diff(want, got) != "" || (code != 0) != skips):
				t.Errorf("exit %d: %s%s", code, errText, cmp.Diff(want, got))
			}
		})
	}
}
