package transfers

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/rows"
)

// What a reorganisation retracts stays retracted, also where a later one comes to the
// same content, as by the same transfer in a block of the same time. So the list of it
// is kept beside the last file of the branch that took the place, and read by the
// reorganisation that replaces that file in its turn. It has everything that was
// retracted since the branches began to differ. It is a file of events as 'import
// events' reads it, each with retract.
//
// No file that comes after the branch can come to what is listed, since the branch
// reaches as far in time as what it replaced: so the list of the files that are
// replaced is all there is to look at.

// RetractedName is the file of what was retracted when a file took its place.
func RetractedName(file string) string { return file + ".retracted.ndjson" }

// retracted is content that was retracted, and in which order.
type retracted struct {
	at    map[hold.Draft]string // the list that names it
	order []hold.Draft
}

func (r *retracted) add(d hold.Draft, list string) {
	d.Retract = false
	if _, has := r.at[d]; !has {
		r.at[d] = list
		r.order = append(r.order, d)
	}
}

// loadRetracted reads the lists of files; one that is absent is empty.
func loadRetracted(files []string) (*retracted, error) {
	r := &retracted{at: map[hold.Draft]string{}}
	for _, file := range files {
		name := RetractedName(file)
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("what was retracted before: %w", err)
		}
		err = r.read(f, name)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("what was retracted before: %s: %w", name, err)
		}
	}
	return r, nil
}

func (r *retracted) read(from io.Reader, name string) error {
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		var d hold.Draft
		err := ingest.DecodeJSON(lines.Bytes(), &d)
		if err == nil && !d.Retract {
			err = errors.New("it is no retract")
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		r.add(d, name)
	}
	return lines.Err()
}

// storedRetract is a line of the list.
type storedRetract struct {
	Token   string `json:"token_id"`
	Holder  string `json:"holder_id"`
	Start   string `json:"start"`
	End     string `json:"end,omitempty"`
	Weight  string `json:"weight_exact,omitempty"`
	Retract bool   `json:"retract"`
}

// save keeps the list beside a file. Where nothing was ever retracted there is none.
func (r *retracted) save(file string) error {
	if len(r.order) == 0 {
		return nil
	}
	err := replaceFile(resolve(RetractedName(file)), func(to io.Writer) error {
		lines := json.NewEncoder(to)
		lines.SetEscapeHTML(false)
		for i := range r.order {
			d := &r.order[i]
			line := storedRetract{Token: d.Token, Holder: d.Holder, Start: stampText(d.Start), Weight: d.WeightExact, Retract: true}
			if d.End.Set {
				line.End = stampText(d.End)
			}
			if err := lines.Encode(&line); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the list of what is retracted was not kept: %w", err)
	}
	return nil
}

func stampText(s hold.Stamp) string { return formatTime(s.Seconds*1e9 + int64(s.Nanos)) }

// follow refuses events of which some were retracted before, since they would not
// count; else it keeps what is retracted now, of what was said before, with the rest,
// beside a file.
func (r *retracted) follow(before, after []rows.Event, gone map[hold.Draft]bool, file string) error {
	count, first := 0, hold.Draft{}
	for i := range after {
		if _, has := r.at[after[i].Draft]; has {
			if count++; count == 1 {
				first = after[i].Draft
			}
		}
	}
	if count == 0 {
		for i := range before {
			if d := before[i].Draft; gone[d] {
				r.add(d, RetractedName(file))
			}
		}
		return r.save(file)
	}
	end := "open"
	if first.End.Set {
		end = "up to " + stampText(first.End)
	}
	return fmt.Errorf("%w: %d of its events, the first of them %s of %s from %s %s (listed in %s)",
		ErrRetracted, count, first.Holder, first.Token, stampText(first.Start), end, r.at[first])
}
