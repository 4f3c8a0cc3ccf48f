package times

// Quick returns what Parse returns, in nanoseconds since the epoch, for the two forms
// that most files have: 2026-01-31T12:00:00Z, with a space or Z left out if UTC is set,
// and whole seconds of 9 or 10 digits. For any other text it returns false.
func (r Reader) Quick(s string) (ns int64, ok bool) {
	switch len(s) {
	case 9, 10:
		if r.Unit != Seconds || len(s) == 10 && s[4] == '-' {
			return 0, false
		}
		seconds := int64(0)
		for i := range len(s) {
			c := s[i] - '0'
			if c > 9 {
				return 0, false
			}
			seconds = seconds*10 + int64(c)
		}
		return seconds * 1e9, seconds > 0 && seconds <= latest
	case 19, 20:
		if s[4] != '-' || s[7] != '-' || s[10] != 'T' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
			return 0, false
		}
		if len(s) == 20 && s[19] != 'Z' || len(s) == 19 && !r.UTC {
			return 0, false
		}
		century, a := two(s[0], s[1])
		year, b := two(s[2], s[3])
		month, c := two(s[5], s[6])
		day, d := two(s[8], s[9])
		hour, e := two(s[11], s[12])
		minute, f := two(s[14], s[15])
		second, g := two(s[17], s[18])
		year += 100 * century
		if !(a && b && c && d && e && f && g) || year < 1970 || year > 2199 ||
			month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
			return 0, false
		}
		seconds := daysSinceEpoch(year, month, day)*86400 + int64(hour*3600+minute*60+second)
		return seconds * 1e9, seconds > 0
	}
	return 0, false
}

func two(tens, ones byte) (int, bool) {
	tens, ones = tens-'0', ones-'0'
	return int(tens)*10 + int(ones), tens <= 9 && ones <= 9
}
