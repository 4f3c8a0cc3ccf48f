package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/testseed"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// soup is a log with all that anybody may publish, n messages of it.
func soup(r *rand.Rand, n int) (Header, []*ingest.Message) {
	h := Header{From: 1, Origin: ingest.Origin{LogID: "c0ffee", Partitions: 4, Through: uint64(n), Limits: []ingest.LimitsFrom{
		{Limits: hold.DefaultLimits()}, {From: 3, Limits: hold.Limits{MaxClockSkew: 1, MaxFutureEnd: math.MaxInt64}},
	}, Horizons: []int64{1, 1_700_000_000e9 + 1}}}
	var all []*ingest.Message
	for i := range n {
		m := &ingest.Message{Position: uint64(i + 1), Partition: r.IntN(4), Time: 1_700_000_000e9 + r.Int64N(1e18)}
		var w ingest.FrameWriter
		for range r.IntN(5) {
			d := draft(r)
			w.AppendDraft(&d)
		}
		d := draft(r)
		lone := ingest.AppendEvent(nil, &d)
		switch r.IntN(14) {
		case 0:
			m.Data = lone
		case 1:
			m.Data = append(lone, 0x7a, 1, 'x') // a field that nobody knows
		case 2:
			m.Data = lone[:r.IntN(len(lone)+1)]
		case 3:
			m.JSON, m.Data = true, fmt.Appendf(nil, `{"token_id":"T","holder_id":"h%d","start":%d}`, r.IntN(9), r.IntN(1e9))
		case 4:
			m.JSON, m.Data = true, []byte(`{"token_id":"T\u001b","holder_id":`)
		case 5:
			m.JSON, m.Data = true, w.Bytes()
		case 6:
			m.Data = []byte{0, 'H', 1}
		case 7:
			m.Data = append([]byte{0, 'H', byte(r.IntN(3))}, lone...)
		case 8:
			if m.Data = w.Bytes(); len(m.Data) > 4 {
				m.Data = m.Data[:len(m.Data)-1-r.IntN(3)]
			}
		case 9:
			m.Data = make([]byte, r.IntN(40))
			for i := range m.Data {
				m.Data[i] = byte(r.Uint32())
			}
		case 10:
			m.Data = ingest.AppendSeal(nil, 1+r.Int64N(hold.MaxTime))
			m.JSON = r.IntN(4) == 0 // whose it is all the same
		case 11: // no seal, or one written in another way than ours
			m.Data = [][]byte{{0, 'S'}, {0, 'S', 1, 0}, {0, 'S', 1, 0x81, 0}, {0, 'S', 2, 1}, ingest.AppendSeal(nil, hold.MaxTime+1)}[r.IntN(5)]
		default:
			m.Data = w.Bytes()
		}
		m.Data = bytes.Clone(m.Data)
		all = append(all, m)
	}
	return h, all
}

// draft is an event, valid or not.
func draft(r *rand.Rand) hold.Draft {
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	stamp := func() hold.Stamp {
		switch r.IntN(8) {
		case 0:
			return hold.Stamp{}
		case 1:
			return hold.Stamp{Set: true}
		case 2:
			return hold.Stamp{Set: true, Seconds: r.Int64() - math.MaxInt64/2, Nanos: r.Int32() - math.MaxInt32/2}
		}
		return hold.Stamp{Set: true, Seconds: 1 + r.Int64N(4e9), Nanos: r.Int32N(1e9)}
	}
	d := hold.Draft{
		Token:  pick("GOLD", "0xabc", "", "T\x1b", "é \"q\" \\", "\xff", "<script>"),
		Holder: pick("alice", "bob", "a b", ""), HoldID: pick("", "", "lot-1", "\u2028"),
		Start: stamp(), End: stamp(),
		WeightExact: pick("", "", "", "1", "1.50", "0.000000000000000001", "many", "1e9"),
		Retract:     r.IntN(4) == 0,
	}
	switch r.IntN(6) {
	case 0:
		d.Weight = []float64{1, 2.5, 1e-18, 1e36, 1.0 / 3, 1e-30, math.NaN(), math.Inf(1), -1, math.Copysign(0, -1)}[r.IntN(10)]
	case 1:
		d.Weight = r.NormFloat64()
	}
	d.WeightGiven = d.Weight != 0
	if r.IntN(3) == 0 {
		d.Revision = r.Uint64()
	}
	return d
}

func readAll(r *Reader) ([]*ingest.Message, error) {
	var all []*ingest.Message
	for m, err := range r.Messages() {
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}

// What was written is what is read: every position, time, partition and byte.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"log.ndjson", "log.ndjson.gz", "log.ndjson.zst", "log.parquet"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range testseed.Seeds(t.Name(), 20) {
				h, want := soup(rand.New(rand.NewPCG(seed, 1)), 1+int(seed%20)*20)
				path := filepath.Join(t.TempDir(), name)
				format, err := FormatOf(path, "")
				if err != nil {
					t.Fatal(err)
				}
				write(t, path, format, h, want)
				r, err := Open(path)
				if err != nil {
					t.Fatal(err)
				}
				if got := r.Header(); !reflect.DeepEqual(got, h) || !got.Whole() {
					t.Errorf("header %+v, want %+v", got, h)
				}
				got, err := readAll(r)
				if err != nil || len(got) != len(want) {
					t.Fatalf("%d messages of %d, %v", len(got), len(want), err)
				}
				for i := range want {
					if got[i].Position != want[i].Position || got[i].Partition != want[i].Partition || got[i].Time != want[i].Time ||
						got[i].JSON != want[i].JSON || !bytes.Equal(got[i].Data, want[i].Data) {
						t.Fatalf("message %d\n%+v, want\n%+v", i, got[i], want[i])
					}
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func write(t *testing.T, path string, format Format, h Header, messages []*ingest.Message) {
	t.Helper()
	w, err := Create(path, format, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if err := w.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// Where our own producers wrote a log, its file has words and no bytes.
func TestFramesNeedNoBytes(t *testing.T) {
	t.Parallel()
	var w ingest.FrameWriter
	for _, d := range []hold.Draft{
		{Token: "GOLD", Holder: "alice", Start: hold.StampOf(1e9), End: hold.StampOf(2e9 + 1), Weight: 2.5, WeightGiven: true},
		{Token: "GOLD", Holder: "é", End: hold.StampOf(2e9), WeightExact: "1.50", HoldID: "x", Revision: 7, Retract: true},
	} {
		w.AppendDraft(&d)
	}
	h, _ := soup(rand.New(rand.NewPCG(1, 1)), 2)
	path := filepath.Join(t.TempDir(), "log.ndjson")
	write(t, path, NDJSON, h, []*ingest.Message{
		{Position: 1, Time: 1e9 + 1, Data: w.Bytes()},
		{Position: 2, Time: 2e9, Partition: 3, Data: ingest.AppendSeal(nil, 1.5e9)},
	})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"holdmetrics_log":3,"log_id":"c0ffee","partitions":4,"from":1,"through":2,"limits":[{"from":0,"max_clock_skew":"5m0s","max_future_end":"5m0s"},{"from":3,"max_clock_skew":"1ns","max_future_end":"2562047h47m16.854775807s"}],"horizons":["1970-01-01T00:00:00.000000001Z","2023-11-14T22:13:20.000000001Z"]}
{"position":1,"time":"1970-01-01T00:00:01.000000001Z","partition":0,"form":"frame","events":[{"token_id":"GOLD","holder_id":"alice","start":"1970-01-01T00:00:01Z","end":"1970-01-01T00:00:02.000000001Z","weight":2.5},{"token_id":"GOLD","holder_id":"é","end":"1970-01-01T00:00:02Z","weight_exact":"1.50","hold_id":"x","revision":7,"retract":true}]}
{"position":2,"time":"1970-01-01T00:00:02Z","partition":3,"form":"seal","horizon":"1970-01-01T00:00:01.5Z","events":[]}
{"end":true,"messages":2,"sha256":"64ea65e6c619d5984c2842ada778656a2a708a5941e253d3f93febac345f415e"}
`
	if string(text) != want {
		t.Errorf("file\n%s\nwant\n%s", text, want)
	}
}

// A file that was not copied whole, or was changed, is refused, whatever is cut.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	h, messages := soup(rand.New(rand.NewPCG(7, 7)), 40)
	for _, name := range []string{"log.ndjson", "log.ndjson.gz", "log.ndjson.zst", "log.parquet"} {
		path := filepath.Join(t.TempDir(), name)
		format, _ := FormatOf(path, "")
		write(t, path, format, h, messages)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, keep := range []int{0, 3, 10, len(whole) / 2, len(whole) - 9, len(whole) - 1} {
			cut := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(cut, whole[:keep], 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Open(cut)
			if err == nil {
				_, err = readAll(r)
				_ = r.Close()
			}
			if !errors.Is(err, ErrArchive) {
				t.Errorf("%s cut to %d of %d bytes: %v", name, keep, len(whole), err)
			}
		}
	}
	var text bytes.Buffer
	w, err := newNDJSONWriter(&text, &h)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if err := w.write(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(text.String(), "\n")
	for what, change := range map[string]func() string{
		"a line less":    func() string { return strings.Join(append(lines[:5:5], lines[6:]...), "") },
		"a line twice":   func() string { return strings.Join(append(lines[:5:5], lines[4:]...), "") },
		"no end":         func() string { return strings.Join(lines[:len(lines)-2], "") },
		"more behind it": func() string { return text.String() + "\n" },
		"another header": func() string { return strings.Replace(text.String(), `"through":40`, `"through":41`, 1) },
		"partition":      func() string { return strings.Replace(text.String(), `"partitions":4`, `"partitions":1`, 1) },
		"newer version":  func() string { return strings.Replace(text.String(), `"holdmetrics_log":3`, `"holdmetrics_log":4`, 1) },
		"horizons":       func() string { return strings.Replace(text.String(), `"horizons":["1970`, `"horizons":["1960`, 1) },
		"horizon of seal": func() string {
			return strings.Replace(text.String(), `"form":"seal","horizon":"`, `"form":"seal","horizon":"x`, 1)
		},
		"form":            func() string { return strings.Replace(text.String(), `"form":"frame"`, `"form":"other"`, 1) },
		"time":            func() string { return strings.Replace(text.String(), `"time":"20`, `"time":"x20`, 1) },
		"another file":    func() string { return "{}\n" },
		"limits":          func() string { return strings.Replace(text.String(), `"5m0s"`, `"5"`, 1) },
		"nothing but end": func() string { return lines[0] + lines[len(lines)-2] },
	} {
		r, err := NewReader(strings.NewReader(change()))
		if err == nil {
			_, err = readAll(r)
		}
		if !errors.Is(err, ErrArchive) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Of NDJSON that is not packed, each bit counts; who edited it on purpose says so.
func TestEditedFiles(t *testing.T) {
	t.Parallel()
	h, messages := soup(rand.New(rand.NewPCG(3, 7)), 12)
	path := filepath.Join(t.TempDir(), "log.ndjson")
	write(t, path, NDJSON, h, messages)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(text []byte, edited bool) error {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return Verify(path, edited, func() error { return nil })
	}
	if err := verify(whole, false); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	step := len(whole) / int(testseed.Draws(uint64(len(whole)))) // 1: each of its bytes
	for n := 0; n < len(whole); n += step {
		bad := bytes.Clone(whole)
		bad[n] ^= 1 << random.IntN(8)
		r, err := NewReader(bytes.NewReader(bad))
		if err == nil {
			_, err = readAll(r)
		}
		if !errors.Is(err, ErrArchive) {
			t.Fatalf("byte %d, %q for %q: %v", n, bad[n], whole[n], err)
		}
	}
	edited := bytes.Replace(whole, []byte(`"log_id":"c0ffee"`), []byte(`"log_id":"decaf"`), 1)
	if err := verify(edited, false); !errors.Is(err, ErrEdited) {
		t.Error(err)
	}
	if err := verify(edited, true); err != nil {
		t.Error(err)
	}
	// A sum that is absent is none, but of versions that had none.
	end := bytes.Index(whole, []byte(`,"sha256"`))
	without := append(bytes.Clone(whole[:end]), "}\n"...)
	if err := verify(without, false); !errors.Is(err, ErrEdited) {
		t.Error(err)
	}
	if err := verify(without, true); err != nil {
		t.Error(err)
	}
	for _, version := range []string{"1", "2"} {
		older := bytes.Replace(without, []byte(`"holdmetrics_log":3`), []byte(`"holdmetrics_log":`+version), 1)
		if err := verify(older, false); err != nil {
			t.Error(version, err)
		}
	}
}

// A file appears whole or not at all.
func TestCreateReplacesWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "log.ndjson")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, messages := soup(rand.New(rand.NewPCG(7, 8)), 5)
	w, err := Create(path, NDJSON, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(messages[0]); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	text, err := os.ReadFile(path)
	if entries, _ := os.ReadDir(dir); err != nil || string(text) != "before" || len(entries) != 1 {
		t.Errorf("%q, %v, %d files", text, err, len(entries))
	}
	write(t, path, NDJSON, h, messages)
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files", len(entries))
	}
	if _, err := Create(dir, NDJSON, h); err == nil {
		t.Error("a directory was written to")
	}
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Format{
		"a.ndjson": NDJSON, "a.ndjson.gz": NDJSON, "a.jsonl.zst": NDJSON, "a.parquet": Parquet, "-": NDJSON,
		"a": "", "a.csv": "", "a.gz": "", "a.parquet.gz": "",
	} {
		if got, err := FormatOf(name, ""); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := FormatOf("a", Parquet); got != Parquet || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for name, format := range map[string]Format{"-": Parquet, "a": "csv"} {
		if _, err := FormatOf(name, format); !errors.Is(err, ErrFormat) {
			t.Errorf("%s as %s: %v", name, format, err)
		}
	}
}

// Whatever a file has, reading it ends with messages that can be written again to
// the same words, or with ErrArchive.
func FuzzReader(f *testing.F) {
	for seed := range uint64(4) {
		h, messages := soup(rand.New(rand.NewPCG(seed, 9)), 6)
		var text bytes.Buffer
		w, err := newNDJSONWriter(&text, &h)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range messages {
			if err := w.write(m); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.end(); err != nil {
			f.Fatal(err)
		}
		f.Add(text.Bytes())
	}
	f.Add([]byte("{\"holdmetrics_log\":1}\n"))
	f.Add([]byte{0x1f, 0x8b, 0, 0})
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := NewReader(bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrArchive) {
				t.Fatal(err)
			}
			return
		}
		defer r.Close()
		h := r.Header()
		w, err := newNDJSONWriter(io.Discard, &h)
		if err != nil {
			t.Fatal(err)
		}
		next := h.From
		for m, err := range r.Messages() {
			if err != nil {
				if !errors.Is(err, ErrArchive) {
					t.Fatal(err)
				}
				return
			}
			if m.Position != next || m.Partition >= h.Origin.Partitions {
				t.Fatalf("message %+v where %d comes", m, next)
			}
			next++
			if err := w.write(m); err != nil {
				t.Fatal(err)
			}
		}
	})
}
