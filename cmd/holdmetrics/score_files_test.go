package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/spf13/cobra"
	"pgregory.net/rapid"

	"holdmetrics/ingest/sharded"
)

// scoreResult is what a score command did.
type scoreResult struct {
	out, complaints, err string
	quick                bool // it was worked out on several cores
}

// scoreFiles runs score of a kind of files. With a block of 0 bytes the files are read
// row by row.
func scoreFiles(kind string, block int, args ...string) scoreResult {
	var s scoreResult
	c := &cobra.Command{Use: kind, SilenceUsage: true, SilenceErrors: true}
	open := map[string]func(*cobra.Command) openSource{
		"transfers": func(c *cobra.Command) openSource { return transferFlags(c).open },
		"balances":  func(c *cobra.Command) openSource { return balanceFlags(c).open },
		"events":    eventFlags,
	}[kind](c)
	scoreCommand(c, func(files []string, use sourceUse) (*source, error) {
		from, err := open(files, use)
		if err != nil {
			return nil, err
		}
		quick := from.score
		switch {
		case block == 0:
			from.score = nil
		case quick != nil:
			from.score = func(ctx context.Context, terms sharded.Terms) (*sharded.Set, error) {
				terms.BlockBytes, terms.Cores = block, 3
				set, err := quick(ctx, terms)
				s.quick = err == nil
				return set, err
			}
		}
		return from, nil
	}, kind == "transfers")
	var out, complaints bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&complaints)
	c.SetArgs(args)
	if err := c.ExecuteContext(context.Background()); err != nil {
		s.err = err.Error()
	}
	s.out, s.complaints = out.String(), complaints.String()
	return s
}

// sameScores fails the test unless both ways of reading say the same. It reports whether
// the files were worked out on several cores.
func sameScores(t *rapid.T, kind string, block int, args ...string) bool {
	plain, quick := scoreFiles(kind, 0, args...), scoreFiles(kind, block, args...)
	was := quick.quick
	quick.quick = false
	if plain != quick {
		var files strings.Builder
		for _, name := range args {
			if text, err := os.ReadFile(name); err == nil {
				fmt.Fprintf(&files, "%s:\n%q\n", name, text)
			}
		}
		t.Fatalf("%s %q, blocks of %d:\nrow by row %+v\non several cores %+v\n%s", kind, args, block, plain, quick, files.String())
	}
	return was
}

// oddFile draws how rows of cells are written, and writes them.
func oddFile(t *rapid.T, dir string, n int, rows [][]string) string {
	comma := rapid.SampledFrom([]string{",", ",", ",", ";", "\t"}).Draw(t, "comma")
	end := rapid.SampledFrom([]string{"\n", "\n", "\r\n"}).Draw(t, "line end")
	odd := rapid.IntRange(0, 3).Draw(t, "odd") == 0
	quotes := rapid.IntRange(0, 4).Draw(t, "quotes") == 0
	var b strings.Builder
	if rapid.IntRange(0, 9).Draw(t, "mark") == 0 {
		b.WriteString("\xef\xbb\xbf")
	}
	for i, row := range rows {
		cells := slices.Clone(row)
		for j := range cells {
			if quotes && i > 0 && rapid.IntRange(0, 5).Draw(t, "quoted") == 0 {
				cells[j] = `"` + strings.ReplaceAll(cells[j], `"`, `""`) + `"`
			} else if odd && rapid.IntRange(0, 30).Draw(t, "space") == 0 {
				cells[j] = rapid.SampledFrom([]string{" ", "\u00a0", "\u200b"}).Draw(t, "kind of space") + cells[j] + " "
			}
		}
		if odd && i > 0 {
			switch rapid.IntRange(0, 60).Draw(t, "oddity") {
			case 0:
				b.WriteString(end)
			case 1:
				b.WriteString(strings.Repeat(comma, len(cells)-1) + end)
			case 2:
				b.WriteString(strings.Join(rows[0], comma) + end)
			case 3:
				b.WriteString("  " + end)
			case 4:
				b.WriteString(`"` + "a\nb" + `"` + strings.Repeat(comma, len(cells)-1) + end)
			case 5:
				b.WriteString(`x"y` + strings.Repeat(comma, len(cells)-1) + end)
			case 6:
				cells = append(cells, "more")
			case 7:
				cells = cells[1:]
			}
		}
		b.WriteString(strings.Join(cells, comma))
		if i < len(rows)-1 || rapid.Bool().Draw(t, "last line end") {
			b.WriteString(end)
		}
	}
	text := []byte(b.String())
	name := filepath.Join(dir, "f"+strconv.Itoa(n)+".csv")
	if rapid.IntRange(0, 9).Draw(t, "packed") == 0 {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(text)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		text = packed.Bytes()
		if rapid.IntRange(0, 3).Draw(t, "damaged") == 0 {
			text = text[:len(text)-rapid.IntRange(1, 20).Draw(t, "cut off")]
		}
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// oddLines writes rows of cells as JSON, one object a line.
func oddLines(t *rapid.T, dir string, n int, rows [][]string) string {
	odd := rapid.IntRange(0, 3).Draw(t, "odd lines") == 0
	end := rapid.SampledFrom([]string{"\n", "\n", "\r\n"}).Draw(t, "line end")
	var b strings.Builder
	for i, row := range rows[1:] {
		var members []string
		for j, cell := range row {
			name := rows[0][j]
			switch text, _ := json.Marshal(cell); {
			case cell == "" && rapid.Bool().Draw(t, "absent"):
				continue
			case name == "weight" && json.Valid([]byte(cell)), name == "start" && json.Valid([]byte(cell)) && rapid.Bool().Draw(t, "number"):
				members = append(members, fmt.Sprintf("%q:%s", name, cell))
			case name == "_id":
				members = append(members, fmt.Sprintf(`"_id":{"$oid":%s}`, text))
			default:
				members = append(members, fmt.Sprintf("%q: %s", name, text))
			}
		}
		line := "{" + strings.Join(members, ",") + "}"
		if odd {
			line = rapid.SampledFrom([]string{line, line, line, line, line, line, line, line, line, line, line, line, " " + line + " ", line + end, line[:len(line)-1], `{"_more":[1,{"a":2}],` + line[1:], `{"more":1,` + line[1:], "[]"}).Draw(t, "line")
		}
		b.WriteString(line)
		if i < len(rows)-2 || rapid.Bool().Draw(t, "last line end") {
			b.WriteString(end)
		}
	}
	name := filepath.Join(dir, "f"+strconv.Itoa(n)+".csv") // the name does not matter
	if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// oddParquet writes rows of cells as Parquet: columns of numbers as such or as texts,
// columns of times also as times, in groups and pages of any size.
func oddParquet(t *rapid.T, dir string, n int, rows [][]string) string {
	type column struct {
		at   int // in the rows
		kind string
	}
	group, columns := parquet.Group{}, map[string]column{}
	for i, name := range rows[0] {
		kinds := []string{"text", "text", "bytes"}
		if !slices.ContainsFunc(rows[1:], func(row []string) bool {
			number, err := strconv.ParseInt(row[i], 10, 64)
			return row[i] != "" && (err != nil || strconv.FormatInt(number, 10) != row[i])
		}) {
			kinds = append(kinds, "number", "number")
			if name == "start" || name == "end" || name == "block_timestamp" {
				kinds = append(kinds, "time", "time", "time")
			}
		}
		kind := rapid.SampledFrom(kinds).Draw(t, "kind of "+name)
		group[name] = parquet.Optional(map[string]parquet.Node{
			"text": parquet.String(), "bytes": parquet.Leaf(parquet.ByteArrayType), "number": parquet.Int(64), "time": parquet.Timestamp(parquet.Millisecond),
		}[kind])
		columns[name] = column{i, kind}
	}
	schema := parquet.NewSchema("rows", group)
	path := filepath.Join(dir, "f"+strconv.Itoa(n)+".csv") // the name does not matter
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := parquet.NewGenericWriter[any](f, schema, parquet.MaxRowsPerRowGroup(int64(rapid.SampledFrom([]int{3, 10, 1000}).Draw(t, "rows of a group"))),
		parquet.PageBufferSize(rapid.SampledFrom([]int{64, 1 << 16}).Draw(t, "page")))
	for _, cells := range rows[1:] {
		row := make(parquet.Row, 0, len(cells))
		for i, path := range schema.Columns() {
			c := columns[path[0]]
			text := cells[c.at]
			number, _ := strconv.ParseInt(text, 10, 64)
			v, defined := parquet.ByteArrayValue([]byte(text)), 1
			switch {
			case text == "" && (c.kind == "number" || c.kind == "time" || rapid.Bool().Draw(t, "null")):
				v, defined = parquet.NullValue(), 0
			case c.kind == "number":
				v = parquet.Int64Value(number)
			case c.kind == "time":
				v = parquet.Int64Value(number * 1000)
			}
			row = append(row, v.Level(0, defined, i))
		}
		if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// columns draws an order of columns, of which the last may be absent.
func columns(t *rapid.T, needed, others []string) []string {
	all := slices.Clone(needed)
	for _, name := range others {
		if rapid.IntRange(0, 3).Draw(t, name) == 0 {
			all = append(all, name)
		}
	}
	return rapid.Permutation(all).Draw(t, "columns")
}

// rulesFiles are rules, of which some need no holds and others do.
var rulesFiles = []string{
	"policy: sum\n",
	"policy: sum\nids: evm\nexclude:\n  - bob\ntokens:\n  - token: U\n    policy: merge\n    multiplier: 1.5\n",
	"policy: merge\ntokens:\n  - token: T\n    season: {from: 2023-11-14T22:13:40Z, to: 2023-11-14T22:14:30Z}\n",
	"policy: merge\ntokens:\n  - token: T\n    shortest_run: 5s\n",
	"policy: sum\ntokens:\n  - token: U\n    hold_ids: required\n",
	"policy: sum\ntokens:\n  - match: \"*\"\n    boosts: {by: run, steps: [{after: 3s, factor: 2}]}\n",
}

// rulesArgs draws how holds count.
func rulesArgs(t *rapid.T, dir string) []string {
	if rapid.Bool().Draw(t, "no rules") {
		return []string{"--policy", rapid.SampledFrom([]string{"sum", "merge"}).Draw(t, "policy")}
	}
	name := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(name, []byte(rapid.SampledFrom(rulesFiles).Draw(t, "rules")), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--rules", name}
}

// commonArgs are options that both kinds take.
func commonArgs(t *rapid.T) []string {
	args := []string{"--format", "csv", "--as-of", rapid.SampledFrom([]string{"1700000050", "1700000100", "2024-01-01T00:00:00Z"}).Draw(t, "as of")}
	for _, more := range [][]string{{"--by-token"}, {"--share"}, {"--utc"}, {"--from", "1700000010"}, {"--thousands", ","}} {
		if rapid.IntRange(0, 4).Draw(t, more[0]) == 0 {
			args = append(args, more...)
		}
	}
	return args
}

var oddHolders = []string{"alice", "alice", "bob", "bob", "carol", "Alice", "0xAb5801a7D398351b8bE11C439e05C5B3259aeC9B", "0xab5801a7d398351b8be11c439e05c5b3259aec9b", `\xab5801a7d398351b8be11c439e05c5b3259aec9b`, "0x0000000000000000000000000000000000000000", "é", "a longer name of a holder, with a comma"}

func TestScoreEventsOnSeveralCores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	quick := 0
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.IntRange(0, 2).Draw(t, "odd cells") == 0
		pick := func(usual, unusual []string) string {
			if odd && rapid.IntRange(0, 20).Draw(t, "unusual") == 0 {
				return rapid.SampledFrom(unusual).Draw(t, "unusual text")
			}
			return rapid.SampledFrom(usual).Draw(t, "usual text")
		}
		clock := 0
		when := func() string {
			clock += rapid.SampledFrom([]int{0, 1, 1, 2, 7, -3}).Draw(t, "step")
			return strconv.Itoa(1_700_000_010 + clock)
		}
		badTime := []string{"", "x", "1700000005.5", "2023-11-14T22:13:40Z", "2023-11-14 22:13:40", "20231114", "1700000000000", "9999-12-31T00:00:00Z", "99999999999"}
		cell := map[string]func() string{
			"token_id":  func() string { return pick([]string{"T", "T", "U"}, []string{"", "t", "a b", "V"}) },
			"holder_id": func() string { return pick(oddHolders[:5], append(oddHolders, "", "a\x01", strings.Repeat("x", 300))) },
			"start":     func() string { return pick([]string{when()}, badTime) },
			"end":       func() string { return pick([]string{when(), strconv.Itoa(1_700_000_040 + clock), ""}, badTime) },
			"weight": func() string {
				return pick([]string{"1", "2.5", "0", "", "10"}, []string{"-1", "1e3", "007", "1,000", "1.", "0.1234567890123456789", "12345678901234567890", "NaN"})
			},
			"weight_exact": func() string {
				return pick([]string{"", "3", "0.000000000000000001"}, []string{"1e40", "9999999999999999999999999999999999999", "x"})
			},
			"hold_id":  func() string { return pick([]string{""}, []string{"h1", "h2"}) },
			"revision": func() string { return pick([]string{""}, []string{"1", "-1"}) },
			"retract":  func() string { return pick([]string{"", "false"}, []string{"true", "TRUE", "maybe"}) },
			"_id":      func() string { return pick([]string{""}, []string{"x"}) },
		}
		var names []string
		for i := range rapid.IntRange(1, 2).Draw(t, "files") {
			header := columns(t, []string{"token_id", "holder_id", "start", "end"}, []string{"weight", "weight", "weight_exact", "hold_id", "revision", "retract", "_id"})
			header = slices.Compact(header)
			rows := [][]string{header}
			for range rapid.IntRange(0, 25).Draw(t, "rows") {
				var row []string
				for _, name := range header {
					row = append(row, cell[name]())
				}
				rows = append(rows, row)
				if rapid.IntRange(0, 20).Draw(t, "again") == 0 {
					rows = append(rows, row)
				}
			}
			write := rapid.SampledFrom([]func(*rapid.T, string, int, [][]string) string{oddLines, oddFile, oddFile, oddParquet}).Draw(t, "kind of file")
			names = append(names, write(t, dir, i, rows))
		}
		args := append(names, commonArgs(t)...)
		if rapid.IntRange(0, 5).Draw(t, "lenient") == 0 {
			args = append(args, "--lenient")
		}
		args = append(args, rulesArgs(t, dir)...)
		if sameScores(t, "events", rapid.SampledFrom([]int{64, 200, 1 << 20}).Draw(t, "block"), args...) {
			quick++
		}
	})
	if quick < 10 {
		t.Errorf("only %d files were worked out on several cores", quick)
	}
}

func TestScoreTransfersOnSeveralCores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	quick := 0
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.IntRange(0, 2).Draw(t, "odd cells") == 0
		unusual := func(text string, others ...string) string {
			if odd && rapid.IntRange(0, 25).Draw(t, "unusual") == 0 {
				return rapid.SampledFrom(others).Draw(t, "unusual text")
			}
			return text
		}
		holders := oddHolders[:5]
		switch rapid.IntRange(0, 3).Draw(t, "holders") {
		case 0:
			holders = oddHolders[6:8]
		case 1:
			holders = oddHolders
		}
		clock, log := 1_700_000_000, 0
		balances := map[[2]string]int{}
		var names []string
		others := []string{"transaction_hash", "log_index", "removed", "token_decimals", "type", "block_number", "memo"}
		kept := columns(t, []string{"token_address", "from_address", "to_address", "value", "block_timestamp"}, others)
		args := commonArgs(t)
		if slices.Contains(kept, "block_number") && rapid.IntRange(0, 3).Draw(t, "by block") == 0 {
			args = append(args[:2], "--by", "block")
		}
		for i := range rapid.IntRange(1, 2).Draw(t, "files") {
			header := kept
			if rapid.IntRange(0, 5).Draw(t, "other columns") == 0 {
				header = columns(t, []string{"token_address", "from_address", "to_address", "value", "block_timestamp"}, others)
			}
			rows := [][]string{header}
			for range rapid.IntRange(0, 25).Draw(t, "rows") {
				clock += rapid.SampledFrom([]int{0, 0, 1, 1, 5}).Draw(t, "step")
				if odd && rapid.IntRange(0, 40).Draw(t, "back") == 0 {
					clock -= 3
				}
				log++
				token := rapid.SampledFrom([]string{"T", "T", "U"}).Draw(t, "token")
				from, to := rapid.SampledFrom(holders).Draw(t, "from"), rapid.SampledFrom(holders).Draw(t, "to")
				value := rapid.IntRange(0, 9).Draw(t, "value")
				if has := balances[[2]string{token, from}]; has < value && rapid.IntRange(0, 30).Draw(t, "overdraw") > 0 {
					from = rapid.SampledFrom([]string{"0x0000000000000000000000000000000000000000", "", "null"}).Draw(t, "mint")
				}
				balances[[2]string{token, from}] -= value
				balances[[2]string{token, to}] += value
				cells := map[string]string{
					"token_address": unusual(token, "", "t", "a/b"), "from_address": unusual(from, "a\x01"), "to_address": unusual(to, "", "\u200b"),
					"value":            unusual(strconv.Itoa(value), "", "-1", "1.5", "1e2", "0x10", "1,000", "340282366920938463463374607431768211456", strings.Repeat("9", 40), "0.0000000000000000000000001"),
					"block_timestamp":  unusual(strconv.Itoa(clock), "", "x", "2023-11-14T22:14:40Z", "2023-11-14 22:14:40", "99999999999"),
					"transaction_hash": unusual("0xA"+strconv.Itoa(log), "", "0xa1", "0xa3"), "log_index": unusual(strconv.Itoa(log), "", "7"),
					"removed": unusual("", "false", "true", "maybe"), "token_decimals": unusual("3", "", "18", "x"),
					"type": unusual("20", "721", "native", "?"), "block_number": unusual(strconv.Itoa(clock-1_699_999_990), "x", "0"), "memo": unusual("", "m"),
				}
				var row []string
				for _, name := range header {
					row = append(row, cells[name])
				}
				rows = append(rows, row)
				if rapid.IntRange(0, 20).Draw(t, "again") == 0 {
					rows = append(rows, row)
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "in any order") == 0 {
				rows = append(rows[:1:1], rapid.Permutation(rows[1:]).Draw(t, "order")...)
			}
			write := rapid.SampledFrom([]func(*rapid.T, string, int, [][]string) string{oddFile, oddFile, oddParquet}).Draw(t, "kind of file")
			names = append(names, write(t, dir, i, rows))
		}
		args = append(args, rulesArgs(t, dir)...)
		for _, more := range [][]string{
			{"--on-bad-token", "skip"}, {"--decimals", "2"}, {"--decimals", "24"}, {"--round", "down"}, {"--ids", "none"}, {"--ids", "evm"},
			{"--token-is", "T"}, {"--token-is-not", "T"}, {"--null", "alice"}, {"--decimals-column", "token_decimals"}, {"--type", "type"}, {"--nft"}, {"--id", "memo"}, {"--preset", "auto"},
		} {
			if rapid.IntRange(0, 9).Draw(t, "option "+more[0]) == 0 {
				args = append(args, more...)
			}
		}
		if sameScores(t, "transfers", rapid.SampledFrom([]int{100, 300, 1 << 20}).Draw(t, "block"), append(names, args...)...) {
			quick++
		}
	})
	if quick < 10 {
		t.Errorf("only %d files were worked out on several cores", quick)
	}
}

// Transfers in any order are sorted on several cores, too.
func TestScoreUnsortedTransfersOnSeveralCores(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "transfers.csv")
	text := "token_address,from_address,to_address,value,block_timestamp\nT,a,b,2,1700000010\nT,,a,5,1700000000\nT,a,c,1,1700000090\nT,a,b,2,1700000010\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := scoreFiles("transfers", 70, name, "--format", "csv", "--as-of", "1700000100", "--policy", "sum")
	if s.err != "" || !s.quick || !strings.Contains(s.out, "\na,130,90,") || !strings.Contains(s.out, "\nb,360,90,") {
		t.Errorf("%+v", s)
	}
}

// Parquet is worked out on several cores.
func TestScoreParquetOnSeveralCores(t *testing.T) {
	t.Parallel()
	type event struct {
		Token  string    `parquet:"token_id,dict"`
		Holder string    `parquet:"holder_id"`
		Start  time.Time `parquet:"start,timestamp(microsecond)"`
		End    int64     `parquet:"end"`
		Weight float64   `parquet:"weight"`
	}
	type transfer struct {
		Token string `parquet:"token_address"`
		From  string `parquet:"from_address"`
		To    string `parquet:"to_address"`
		Value string `parquet:"value"`
		Time  int64  `parquet:"block_timestamp"`
	}
	dir := t.TempDir()
	events, transfers := filepath.Join(dir, "events.parquet"), filepath.Join(dir, "transfers.parquet")
	if err := errors.Join(
		parquet.WriteFile(events, []event{{"T", "a", time.Unix(1_700_000_000, 0), 1_700_000_010, 2.5}, {"T", "b", time.Unix(1_700_000_000, 0), 1_700_000_001, 1}}),
		parquet.WriteFile(transfers, []transfer{{"T", "0x0000000000000000000000000000000000000000", "a", "5", 1_700_000_000}, {"T", "a", "b", "2", 1_700_000_010}})); err != nil {
		t.Fatal(err)
	}
	for kind, c := range map[string]struct{ file, want string }{"events": {events, "\na,25,10,"}, "transfers": {transfers, "\na,320,100,"}} {
		s := scoreFiles(kind, 1<<20, c.file, "--format", "csv", "--as-of", "1700000100", "--policy", "sum")
		if s.err != "" || !s.quick || !strings.Contains(s.out, c.want) {
			t.Errorf("%s: %+v", kind, s)
		}
	}
}

// A pipe is read once: there is no second reading for what cannot be done on several
// cores.
func TestScoreReadsPipesOnce(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- os.WriteFile(name, []byte("token_id,holder_id,start,end,hold_id\nT,a,1700000000,1700000010,h\n"), 0)
	}()
	s := scoreFiles("events", 1<<20, name, "--format", "csv", "--as-of", "1700000100")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s.err != "" || !strings.Contains(s.out, "\na,10,10,") || s.quick {
		t.Errorf("%+v", s)
	}
}
