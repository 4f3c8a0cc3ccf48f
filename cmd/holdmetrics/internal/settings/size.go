package settings

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is the value of a flag: a number of bytes, as a whole number with KiB, MiB, GiB or
// nothing behind it.
type Size int64

var errSize = errors.New("write it as 300MiB, 2GiB, or as whole bytes; not negative")

// units are the endings of a Size, the largest first.
var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// Set reads the text.
func (n *Size) Set(text string) error {
	size, err := ParseSize(text)
	if err == nil {
		*n = Size(size)
	}
	return err
}

// String returns the size in the largest unit of which it is a whole number.
func (n *Size) String() string {
	for _, u := range units {
		if size := int64(*n); size != 0 && size%u.bytes == 0 {
			return strconv.FormatInt(size/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*n), 10)
}

// Type returns its name in help texts.
func (n *Size) Type() string { return "size" }

// ParseSize reads a number of bytes as [Size.Set] does.
func ParseSize(text string) (int64, error) {
	unit := int64(1)
	for _, u := range units {
		if number, has := strings.CutSuffix(text, u.name); has {
			text, unit = number, u.bytes
			break
		}
	}
	size, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || size < 0 || size > math.MaxInt64/unit {
		return 0, errSize
	}
	return size * unit, nil
}
