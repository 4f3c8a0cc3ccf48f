package transfers

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/holiman/uint256"

	"holdmetrics/ingest/numbers"
	"holdmetrics/ingest/rows"
)

// CheckClosing reports whether [Ledger.SaveClosing] can write that file, before
// hours are spent on what would then be lost: its directory takes new files, and
// it is none of the inputs ("-" is the standard input). It may be the file of
// opening balances, which is read before and replaced whole. The error matches
// [ErrClosing].
func CheckClosing(name string, inputs ...string) error {
	if name == "-" {
		return fmt.Errorf("%w: name a file", ErrClosing)
	}
	there, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("%w: %w", ErrClosing, err)
	case !there.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a file", ErrClosing, name)
	default:
		for _, input := range inputs {
			info, err := statInput(input)
			if err == nil && os.SameFile(info, there) {
				return fmt.Errorf("%w: %s is a file that is read; choose another name", ErrClosing, name)
			}
		}
	}
	f, err := createBeside(resolve(name))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrClosing, err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("%w: %w", ErrClosing, err)
	}
	return nil
}

func statInput(name string) (fs.FileInfo, error) {
	if name == "-" {
		return os.Stdin.Stat()
	}
	return os.Stat(name)
}

// resolve is the file that a link leads to, so that a rename does not replace the link.
func resolve(name string) string {
	if path, err := filepath.EvalSymlinks(name); err == nil {
		return path
	}
	return name
}

func createBeside(name string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
}

// SaveClosing writes every balance that is not zero, by token, then holder, and
// the row that says up to when, so that the next file continues this one. A name
// that ends in .gz is written with gzip. The file is there whole or not at all;
// one that was there before is replaced.
func (l *Ledger) SaveClosing(name string) error {
	return replaceFile(resolve(name), func(to io.Writer) error {
		if !strings.HasSuffix(name, ".gz") {
			return l.writeBalances(to)
		}
		packed := gzip.NewWriter(to)
		return cmp.Or(l.writeBalances(packed), packed.Close())
	})
}

// replaceFile writes a file that is there whole or not at all.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	f, err := createBeside(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriter(f)
	if err = write(w); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	// CreateTemp keeps files to their owner; a result is as readable as any other.
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// exactText is a balance with all of its digits, up to 36 after the point.
func (b *book) exactText(a *account) string {
	if !b.fine[a.token] {
		return text(&a.balance)
	}
	var whole, rest uint256.Int
	whole.DivMod(&a.balance, numbers.PowerOfTen(36), &rest)
	digits := fmt.Sprintf("%036s", rest.Dec())
	if digits = strings.TrimRight(digits, "0"); digits == "" {
		return whole.Dec()
	}
	return whole.Dec() + "." + digits
}

// leftOutTokens are the tokens that are left out, here or in the opening balances.
func (l *Ledger) leftOutTokens() (all []string) {
	for token := range l.bad {
		all = append(all, l.tokens.texts[token])
	}
	for _, token := range l.leftOut {
		all = append(all, l.tokens.texts[l.tokens.means[token]])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (l *Ledger) writeBalances(w io.Writer) error {
	out := rows.NewCSVWriter(w)
	if err := out.Write(balanceColumns[:]); err != nil {
		return err
	}
	var row [balanceWidth]string
	for _, a := range l.book.sorted() {
		row[colToken], row[colHolder], row[colSince] = l.tokens.texts[a.token], l.holders.texts[a.holder], seconds(a.since)
		row[colBalance], row[colDecimals] = l.book.exactText(a), l.contracts.stated(l.tokens.texts[a.token])
		if err := out.Write(row[:]); err != nil {
			return err
		}
	}
	for _, token := range l.leftOutTokens() {
		row = [balanceWidth]string{colToken: token, colBalance: leftOutText}
		if err := out.Write(row[:]); err != nil {
			return err
		}
	}
	row = [balanceWidth]string{colDecimals: l.manner.text(&l.opt, l.thousands), colNFT: strconv.FormatBool(l.opt.NFT)}
	if asOf := max(l.at, l.openedAt); asOf > 0 {
		row[colAsOf] = seconds(asOf)
	}
	if err := out.Write(row[:]); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}
