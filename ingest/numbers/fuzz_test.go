package numbers

import "testing"

// FuzzParse reads any text as a number, in every format.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "1", "-1.5e3", "0x1f", "1,000.5", "1.000,5", ".5", "5.", "1e999999999", "-0x", "１"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, thousands := range []string{"", ",", ".", "'", "_", " "} {
			format := Format{Thousands: thousands}
			d, err := format.Parse(s)
			if err != nil {
				continue
			}
			again, err := format.Parse(s)
			if err != nil || again != d {
				t.Fatalf("%q is read as %v, and then as %v: %v", s, d, again, err)
			}
		}
	})
}
