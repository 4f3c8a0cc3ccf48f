package transfers

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"holdmetrics/hold"
	"holdmetrics/internal/testseed"
)

// move is a transfer of the naive model.
type move struct {
	token, from, to string // addresses in lower case; from or to empty: nobody
	value           int64
	at              int64 // s
	tx              string
	index           int
}

// randomLedger makes transfers in which nobody sends what he does not have.
func randomLedger(r *rand.Rand) (moves []move) {
	tokens, holders := 1+r.IntN(3), 2+r.IntN(4)
	id := func(kind, n int) string { return fmt.Sprintf("0x%02x%036x%02x", kind, 0xabc, n) }
	balances := map[[2]string]int64{}
	at := int64(1_700_000_000)
	for i := range 3 + r.IntN(25) {
		at += int64(r.IntN(3)) * 50
		m := move{token: id(0xee, r.IntN(tokens)), to: id(0xcc, r.IntN(holders)), at: at, tx: fmt.Sprintf("0x%064x", r.Uint64()), index: i}
		from := id(0xcc, r.IntN(holders))
		if have := balances[[2]string{m.token, from}]; have > 0 && r.IntN(3) > 0 {
			m.from, m.value = from, 1+r.Int64N(have)
			balances[[2]string{m.token, from}] -= m.value
			if r.IntN(5) == 0 {
				m.to = ""
			}
		} else {
			m.value = 1 + r.Int64N(1000)
		}
		if m.to != "" {
			balances[[2]string{m.token, m.to}] += m.value
		}
		moves = append(moves, m)
	}
	return moves
}

// naive is the score of every pair as of a time: the balance after each second that
// has transfers, times the seconds to the next.
func naive(moves []move, asOf int64) map[string]string {
	type pair struct{ token, holder string }
	changes := map[pair]map[int64]int64{}
	add := func(p pair, at, by int64) {
		if p.holder == "" {
			return
		}
		if changes[p] == nil {
			changes[p] = map[int64]int64{}
		}
		changes[p][at] += by
	}
	for _, m := range moves {
		add(pair{m.token, m.from}, m.at, -m.value)
		add(pair{m.token, m.to}, m.at, m.value)
	}
	out := map[string]string{}
	for p, of := range changes {
		score := new(big.Int)
		for at, by := range of {
			score.Add(score, new(big.Int).Mul(big.NewInt(by), big.NewInt(asOf-at)))
		}
		if score.Sign() != 0 {
			out[p.token+" "+p.holder] = score.String()
		}
	}
	return out
}

// spell writes an address in one of its spellings.
func spell(r *rand.Rand, a string) string {
	if a == "" {
		return []string{"", zero, "null", "None", "0x" + strings.Repeat("0", 64), `\x` + strings.Repeat("0", 40), strings.Repeat("0", 40)}[r.IntN(7)]
	}
	b := []byte(a)
	for i := 2; i < len(b); i++ {
		if b[i] >= 'a' && b[i] <= 'f' && r.IntN(2) == 0 {
			b[i] -= 'a' - 'A'
		}
	}
	return []string{"", " ", "\u00a0", "\u200b"}[r.IntN(4)] + string(b) + []string{"", "  ", "\u2060"}[r.IntN(3)]
}

// spellValue writes a number in one of its spellings, times 10^decimals.
func spellValue(r *rand.Rand, v int64, decimals int) string {
	n := new(big.Int).Mul(big.NewInt(v), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil))
	switch r.IntN(5) {
	case 0:
		return "0x" + n.Text(16)
	case 1:
		return fmt.Sprintf("%de%d", v, decimals)
	case 2:
		return "+" + n.String() + ".0"
	case 3:
		return "000" + n.String()
	}
	return n.String()
}

// spellTime writes a time in one of its spellings.
func spellTime(r *rand.Rand, at int64) string {
	t := time.Unix(at, 0)
	zone := time.FixedZone("", 60*(r.IntN(24*60)-12*60))
	switch r.IntN(6) {
	case 0:
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	case 1:
		return t.In(zone).Format("2006-01-02T15:04:05-07:00")
	case 2:
		return strings.ToLower(t.UTC().Format("2006-01-02T15:04:05.000Z"))
	case 3:
		return t.In(zone).Format("2006-01-02 15:04:05.000000-0700")
	case 4:
		return fmt.Sprintf("%d.000", at)
	}
	return fmt.Sprint(at)
}

var formColumns = []string{"token_address", "from_address", "to_address", "value", "transaction_hash", "log_index", "block_timestamp"}

// writeForm writes rows as a file of a random form, and returns its name.
func writeForm(t *testing.T, r *rand.Rand, dir string, n int, table [][]string) string {
	t.Helper()
	var out bytes.Buffer
	form := r.IntN(6)
	switch form {
	case 0, 1, 2:
		w := csv.NewWriter(&out)
		w.Comma = []rune{',', ';', '\t'}[form]
		if err := w.Write(formColumns); err != nil {
			t.Fatal(err)
		}
		for i, row := range table {
			if i > 0 && r.IntN(10) == 0 {
				_ = w.Write(formColumns) // a buffer takes everything
			}
			_ = w.Write(row)
		}
		w.Flush()
	case 3, 4:
		objects := make([]map[string]string, len(table))
		for i, row := range table {
			objects[i] = map[string]string{}
			for j, name := range formColumns {
				objects[i][name] = row[j]
			}
		}
		if form == 3 {
			w := json.NewEncoder(&out)
			for _, o := range objects {
				if err := w.Encode(o); err != nil {
					t.Fatal(err)
				}
			}
			break
		}
		b, err := json.MarshalIndent(objects, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	default:
		type record struct {
			Token string `parquet:"token_address,dict"`
			From  string `parquet:"from_address,optional"`
			To    string `parquet:"to_address,optional"`
			Value string `parquet:"value"`
			Tx    string `parquet:"transaction_hash"`
			Index string `parquet:"log_index"`
			Time  string `parquet:"block_timestamp"`
		}
		records := make([]record, len(table))
		for i, row := range table {
			records[i] = record{row[0], row[1], row[2], row[3], row[4], row[5], row[6]}
		}
		if err := parquet.Write(&out, records); err != nil {
			t.Fatal(err)
		}
	}
	data := out.Bytes()
	switch r.IntN(3) {
	case 0:
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(data) // as above
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		data = packed.Bytes()
	case 1:
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		data = w.EncodeAll(data, nil)
	}
	path := filepath.Join(dir, fmt.Sprint(n))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLedgersInAnyShapeEqualTheModel writes random ledgers in random spellings, orders,
// duplications, files and forms, and compares their scores with those of a naive
// model. It stops before the test does, and says how many there were.
func TestLedgersInAnyShapeEqualTheModel(t *testing.T) {
	t.Parallel()
	ledgers := testseed.Draws(1000)
	begun, budget := time.Now(), time.Minute
	done := 0
	for seed := range testseed.Seeds(t.Name(), ledgers) {
		if time.Since(begun) > budget {
			t.Logf("%d ledgers of %d in %s", done, ledgers, budget)
			return
		}
		done++
		r := rand.New(rand.NewPCG(seed, 15))
		moves := randomLedger(r)
		asOf := moves[len(moves)-1].at + 1 + int64(r.IntN(1000))
		decimals := r.IntN(19)

		lines := slices.Clone(moves)
		for range r.IntN(len(moves)) {
			lines = append(lines, moves[r.IntN(len(moves))])
		}
		r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		tables := make([][][]string, 1+r.IntN(3))
		for _, m := range lines {
			n := r.IntN(len(tables))
			index := []string{fmt.Sprint(m.index), fmt.Sprintf("0x%x", m.index), fmt.Sprintf("%d.0", m.index)}[r.IntN(3)]
			tx := m.tx
			if r.IntN(2) == 0 {
				tx = "0x" + strings.ToUpper(tx[2:])
			}
			tables[n] = append(tables[n], []string{spell(r, m.token), spell(r, m.from), spell(r, m.to), spellValue(r, m.value, decimals), tx, index, spellTime(r, m.at)})
		}
		dir := t.TempDir()
		var files []string
		for n, table := range tables {
			if len(table) > 0 {
				files = append(files, writeForm(t, r, dir, n, table))
			}
		}
		got, err := scores(t, decimals, asOf, files)
		if want := naive(moves, asOf); err != nil || !equal(got, want) {
			t.Fatalf("seed %d, %d decimals, %v: %v\ngot  %v\nwant %v", seed, decimals, files, err, got, want)
		}
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func scores(t *testing.T, decimals int, asOf int64, files []string) (map[string]string, error) {
	t.Helper()
	l, err := New(Options{Decimals: decimals, DecimalsGiven: true, Holders: IDsAuto, Tokens: IDsAuto})
	if err != nil {
		return nil, err
	}
	pairs := map[string]*hold.Pair{}
	for e, err := range l.Events(t.Context(), files...) {
		if err != nil {
			return nil, err
		}
		checked, err := e.Draft.Check(hold.MaxTime, hold.Limits{})
		if err != nil {
			return nil, err
		}
		key := checked.Token + " " + checked.Holder
		if pairs[key] == nil {
			pairs[key] = hold.NewPair(hold.Merge)
		}
		pairs[key].Add(checked.Fact())
	}
	out := map[string]string{}
	for key, p := range pairs {
		if score := p.LiveAt(asOf * 1e9).Score; !score.IsZero() {
			out[key] = score.String()
		}
	}
	return out, nil
}
