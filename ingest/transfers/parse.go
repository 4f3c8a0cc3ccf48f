package transfers

import (
	"strings"
	"time"

	"github.com/holiman/uint256"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// MaxDecimals is the largest Options.Decimals: a weight has so many digits after the point.
const MaxDecimals = 18

// isZeroAddress says whether an address is 0x and nothing but zeros.
func isZeroAddress(a string) bool {
	return len(a) > 2 && a[0] == '0' && (a[1] == 'x' || a[1] == 'X') && strings.Trim(a[2:], "0") == ""
}

// parseValue reads a decimal and divides it by 10^decimals, in units of 1e-18.
func parseValue(s string, decimals int) (uint256.Int, error) {
	whole, frac, point := strings.Cut(s, ".")
	if whole == "" || point && frac == "" {
		return uint256.Int{}, ErrValue
	}
	for _, part := range [2]string{whole, frac} {
		for i := range len(part) {
			if part[i] < '0' || part[i] > '9' {
				return uint256.Int{}, ErrValue
			}
		}
	}
	if decimals > 0 {
		whole = strings.TrimLeft(whole, "0")
		if pad := decimals - len(whole); pad >= 0 {
			whole = strings.Repeat("0", pad+1) + whole
		}
		cut := len(whole) - decimals
		whole, frac = whole[:cut], whole[cut:]+frac
	}
	whole = strings.TrimLeft(whole, "0")
	frac = strings.TrimRight(frac, "0")
	if len(whole) > 37 {
		return uint256.Int{}, ErrTooLarge
	}
	if whole == "" {
		whole = "0"
	}
	if frac != "" {
		whole += "." + frac
	}
	w, err := hold.ParseWeight(whole)
	return *w.Units(), err
}

// parseTime reads a time in nanoseconds since the epoch.
func parseTime(s string) (int64, error) {
	t, err := ingest.ParseTime(s)
	if err != nil {
		// ethereum-etl's tables in BigQuery write a space and a zone name.
		u, err := time.Parse("2006-01-02 15:04:05 UTC", s)
		if err != nil {
			return 0, ErrTime
		}
		t = hold.Stamp{Seconds: u.Unix(), Nanos: int32(u.Nanosecond()), Set: true}
	}
	if t.Seconds < 0 || t.Seconds == 0 && t.Nanos == 0 || t.Seconds > hold.MaxTime/1e9 {
		return 0, ErrTime
	}
	ns := t.Seconds*1e9 + int64(t.Nanos)
	if ns > hold.MaxTime {
		return 0, ErrTime
	}
	return ns, nil
}
