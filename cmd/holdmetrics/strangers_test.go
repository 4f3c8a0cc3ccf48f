package main

import (
	"strings"
	"testing"
)

// strangers are files that were written without knowledge of the tests. Each once gave
// a wrong score without a word, or was refused without need.
var strangers = []situation{
	{
		name: "a transaction in three spellings is one",
		files: map[string]string{
			"1.csv": rowsOf(logHeader, "T,zero,a,10,100,0x"+strings.Repeat("aB", 32)+",7,", "T,zero,a,5,100,0xcd,8,"),
			"2.csv": rowsOf(logHeader, "T,zero,a,10,100,"+strings.Repeat("ab", 32)+",7,", "T,zero,a,10,100,\\x"+strings.Repeat("ab", 32)+",0x07,", "T,zero,a,5,100,\\xCD,8,"),
		},
		args: []string{"transfers", "1.csv", "2.csv", "--as-of", "200"}, want: map[string]string{"a": "1500"}, err: "duplicates: 3",
	},
	{
		name: "a log is taken back in a file that runs backwards",
		files: map[string]string{"a.csv": rowsOf(logHeader, "T,zero,a,5,110,0xcd,1,true", "T,zero,a,5,110,0xcd,1,true", "T,zero,a,5,110,0xcd,1,false", "T,zero,a,5,110,0xcd,1,false",
			"T,zero,a,10,100,0xab,7,false")},
		args: []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "1000"}, err: "taken back: 1",
	},
	{
		name:  "a log comes back in another block",
		files: map[string]string{"a.csv": rowsOf(logHeader, "T,zero,a,5,110,0xcd,1,true", "T,zero,a,5,120,0xcd,1,false")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "400"}, err: "removed, unseen: 1",
	},
	{
		name: "a checkpoint counts in the decimals of its transfers",
		files: map[string]string{
			"a.csv": "contract_address,from_address,to_address,delta,block_signed_at,contract_decimals\n" + gold + "," + zeros + "," + ann + ",100000000,100,6\n",
			"b.csv": "token_id,holder_id,balance,time\n0X" + gold[2:] + "," + annUp + ",60000000,110\n",
		},
		args: []string{"transfers", "a.csv", "--checkpoint", "b.csv", "--as-of", "200"}, want: map[string]string{ann: "6400"}, err: "corrected " + gold + " by 40",
	},
	{
		name: "a token in two spellings has one number of decimals",
		files: map[string]string{"a.csv": "token_address,from_address,to_address,value,block_timestamp,d\n" +
			"0x" + strings.Repeat("aB", 20) + ",,a,100,100,6\n0x" + strings.Repeat("ab", 20) + ",,a,100,100,18\n"},
		args: []string{"transfers", "a.csv", "--decimals-column", "d"}, want: map[string]string{}, code: 1, err: "18 here, and 6 in an earlier row",
	},
	{
		name: "a file without decimals before one that has them",
		files: map[string]string{
			"a.csv": "contract_address,from_address,to_address,delta,block_signed_at,contract_decimals\nT,,a,100,100,6\n",
			"b.csv": "contract_address,from_address,to_address,delta,block_signed_at\nT,,a,100,110\n",
		},
		args: []string{"transfers", "b.csv", "a.csv"}, want: map[string]string{}, code: 1, err: "6 here, and an earlier file has no column of them",
	},
	{
		name:  "snapshots are those of the whole file, whatever tokens are asked for",
		files: map[string]string{"a.csv": "token_id,holder_id,balance,time\nA,al,5,100\nB,al,5,100\nB,al,5,150\n"},
		args:  []string{"balances", "a.csv", "--snapshots", "--token-is", "A", "--as-of", "200"}, want: map[string]string{"al": "250"},
	},
	{
		name:  "snapshots are those of the whole file, whatever tokens are bad",
		files: map[string]string{"a.csv": "token_id,holder_id,balance,time\nA,al,5,100\nB,al,5,100\nB,al,-5,150\n"},
		args:  []string{"balances", "a.csv", "--snapshots", "--on-bad-token", "skip", "--as-of", "200"}, want: map[string]string{"al": "250"}, code: 1,
	},
	{
		name:  "snapshots are those of the whole file, whatever ids are asked for",
		files: map[string]string{"a.csv": "token_id,holder_id,balance,time,n\nA,al,5,100,1\nA,al,5,100,2\nA,al,5,150,2\n"},
		args:  []string{"balances", "a.csv", "--snapshots", "--id", "n", "--token-is", "A/1", "--as-of", "200"}, want: map[string]string{"al": "250"},
	},
	{
		name:  "decimals of a token that is not there are reported",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,a,100,100")},
		args:  []string{"transfers", "a.csv", "--decimals", "t=2", "--as-of", "200"}, want: map[string]string{"a": "10000"}, err: "warning: no row is of token \"t\"",
	},
	{
		name:  "decimals for all divide the amounts of ids, and that is reported",
		files: map[string]string{"a.csv": "token_address,from_address,to_address,token_id,value,block_timestamp,kind\nT,,a,,1000,100,20\nM,,a,5,300,100,1155\n"},
		args:  []string{"transfers", "a.csv", "--type", "kind", "--decimals", "2", "--as-of", "200"}, want: map[string]string{"a": "1300"}, err: "type 1155 too, 1 of them",
	},
	{
		name:  "marks of direction and fillers around ids",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,\u202aa\u202c,1,100", "T,zero,\u2066a\u2069,1,100", "T,zero,a\u3164,1,100", "T,zero,a\u2063\ufe0f,1,100")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "400"},
	},
	{
		name:  "groups behind no-break spaces",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,a,1\u00a0000,100", "T,zero,a,1\u202f000,100", "T,zero,a,1 000,100")},
		args:  []string{"transfers", "a.csv", "--thousands", " ", "--as-of", "200"}, want: map[string]string{"a": "300000"},
	},
	{
		name:  "a time as Go prints it",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,a,1,1970-01-01 00:01:40 +0000 UTC")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "100"},
	},
	{
		name:  "a time in two zones",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,a,1,1970-01-01 00:01:40 +0100 UTC")},
		args:  []string{"transfers", "a.csv"}, want: map[string]string{}, code: 1, err: "has two zones",
	},
	{
		name:  "rows with nothing in them",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,a,1,100", "  ", ",,,,", "\"\",,,,")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{"a": "100"},
	},
	{
		name:  "a bad time is the fault of its token",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "S,zero,a,1,soon", "T,zero,a,1,100")},
		args:  []string{"transfers", "a.csv", "--on-bad-token", "skip", "--as-of", "200"}, want: map[string]string{"a": "100"}, code: 1, err: "token S is left out: a.csv:2: ",
	},
	{
		name: "documents of MongoDB in canonical JSON",
		files: map[string]string{"a.ndjson": `{"_id":{"$oid":"60edb8e85f1b2c0012345678"},"token_id":"T","holder_id":"a","start":{"$date":{"$numberLong":"100000"}},"end":{"$date":{"$numberLong":"110500"}},"weight":{"$numberDouble":"2.0"}}` + "\n" +
			`{"_id":{"$oid":"60edb8e85f1b2c0012345679"},"token_id":"T","holder_id":"b","start":{"$date":{"$numberLong":"100000"}},"end":null,"weight":{"$numberLong":"3"},"_meta":{"a":[1,{"b":2}]}}` + "\n"},
		args: []string{"events", "a.ndjson", "--as-of", "200"}, want: map[string]string{"a": "21", "b": "300"}, err: `ignored fields: 3 ("_id", "_meta")`,
	},
	{
		name: "documents of MongoDB in an array, with equal ones that are meant",
		files: map[string]string{"a.json": `[{"_id":{"$oid":"6a"},"token_id":"T","holder_id":"a","start":{"$date":"1970-01-01T00:01:40Z"},"weight":{"$numberDecimal":"2"},"note":{"x":1}},
{"_id":{"$oid":"6b"},"token_id":"T","holder_id":"a","start":{"$date":"1970-01-01T00:01:40.000Z"},"weight":2}]`},
		args: []string{"events", "a.json", "--lenient", "--hold-id-from", "_id", "--policy", "sum", "--as-of", "200"}, want: map[string]string{"a": "400"}, err: `ignored fields: 1 ("note.x")`,
	},
	{
		name:  "columns that no event has",
		files: map[string]string{"a.csv": "_id,token_id,holder_id,start,weight,color\n6a,T,a,100,.5,red\n6b,T,a,100,5.,\n"},
		args:  []string{"events", "a.csv", "--lenient", "--as-of", "200"}, want: map[string]string{"a": "500"}, err: `ignored fields: 3 ("_id", "color")`,
	},
	{
		name:  "an unknown column",
		files: map[string]string{"a.csv": "_id,token_id,holder_id,start,color\n6a,T,a,100,red\n"},
		args:  []string{"events", "a.csv"}, want: map[string]string{}, code: 1, err: `unknown column "color"; the columns are`,
	},
	{
		name:  "an unknown field",
		files: map[string]string{"a.ndjson": `{"token_id":"T","holder_id":"a","start":100,"color":{"a":"red"}}` + "\n"},
		args:  []string{"events", "a.ndjson"}, want: map[string]string{}, code: 1, err: "a.ndjson:1: color is not a field of an event; --lenient ignores it",
	},
	{
		name:  "what would move a cursor in names of files and fields",
		files: map[string]string{"a\x1b[2J.ndjson": `{"\u001b[31mx":1}` + "\n"},
		args:  []string{"events", "a\x1b[2J.ndjson"}, want: map[string]string{}, code: 1, err: `a\x1b[2J.ndjson:1: \x1b[31mx is not a field of an event`,
	},
	{
		name:  "what would move a cursor in a note",
		files: map[string]string{"a\x1b.csv": rowsOf(transfersHeader, "T,zero,a,1,100", "T,zero,a,1,100")},
		args:  []string{"transfers", "a\x1b.csv", "--as-of", "200"}, want: map[string]string{"a": "200"}, err: `first at a\x1b.csv:3`,
	},
	{
		name:  "names in another spelling",
		files: map[string]string{"a.ndjson": `{"tokenId":"T","holderId":"a","start":100}` + "\n"},
		args:  []string{"events", "a.ndjson"}, want: map[string]string{}, code: 1, err: "a.ndjson:1: tokenId is not a field of an event: write token_id",
	},
	{
		name:  "columns in another spelling",
		files: map[string]string{"a.csv": "Token ID,holder_id,start\nT,a,100\n"},
		args:  []string{"events", "a.csv"}, want: map[string]string{}, code: 1, err: `unknown column "Token ID": write token_id`,
	},
	{
		name:  "an address in spellings that auto leaves alone",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,ann,1,100", "T,zero,0x"+strings.Repeat("0", 24)+ann[2:]+",1,100", `T,zero,\x`+ann[2:]+",1,100", "T,zero,a.eth,1,100")},
		args:  []string{"transfers", "a.csv", "--as-of", "200"}, want: map[string]string{ann: "100", "0x" + strings.Repeat("0", 24) + ann[2:]: "100", `\x` + ann[2:]: "100", "a.eth": "100"},
		err: "are two spellings of an address, and count as two",
	},
	{
		name:  "a column of decimals that is not used",
		files: map[string]string{"a.csv": "token_address,from_address,to_address,value,block_timestamp,token_decimals\nT,,a,100,100,2\n"},
		args:  []string{"transfers", "a.csv", "--decimals", "1", "--as-of", "200"}, want: map[string]string{"a": "1000"},
		err: `warning: a.csv: column "token_decimals" is not used, and seems to have the decimals of each token: --decimals-column "token_decimals" reads it`,
	},
	{
		name:  "a balance that is cut to nothing",
		files: map[string]string{"a.csv": rowsOf(transfersHeader, "T,zero,a,1,100", "T,zero,b,1000000,100")},
		args:  []string{"transfers", "a.csv", "--decimals", "24", "--round", "down", "--as-of", "200"}, want: map[string]string{"b": "0.0000000000000001"}, err: "rounded: 1",
	},
	{
		name:  "hold_ids of a column, with one of its own",
		files: map[string]string{"a.csv": "lot,token_id,holder_id,start,end,weight,hold_id\n1,T,a,100,,2,\n2,T,a,100,,2,\n9,T,a,100,,1,own\n,T,a,,150,,own\n"},
		args:  []string{"events", "a.csv", "--hold-id-from", "lot", "--policy", "sum", "--as-of", "200"}, want: map[string]string{"a": "450"},
	},
	{
		name:  "hold_ids of a column without a value",
		files: map[string]string{"a.csv": "lot,token_id,holder_id,start\n,T,a,100\n"},
		args:  []string{"events", "a.csv", "--hold-id-from", "lot"}, want: map[string]string{}, code: 1, err: "a.csv:2: lot has no value to be the hold_id",
	},
	{
		name:  "a stop with the hold_id of a document",
		files: map[string]string{"a.ndjson": `{"_id":"6a","token_id":"T","holder_id":"a","start":100}` + "\n" + `{"_id":"6b","token_id":"T","holder_id":"a","end":150}` + "\n"},
		args:  []string{"events", "a.ndjson", "--hold-id-from", "_id"}, want: map[string]string{}, code: 1, err: "a.ndjson:2: _id cannot be the hold_id of a stop",
	},
	{
		name:  "a date without hyphens",
		files: map[string]string{"a.csv": "token_id,holder_id,start\nT,a,20260101\n"},
		args:  []string{"events", "a.csv"}, want: map[string]string{}, code: 1, err: "write 2026-01-01",
	},
}

func TestStrangers(t *testing.T) {
	t.Parallel()
	trySituations(t, strangers)
}
