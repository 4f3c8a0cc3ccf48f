package settings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"holdmetrics/gateway/httpapi"
)

// The keys of the settings of the HTTP server.
const (
	keyCORSOrigin = "cors-origin"
	keyLenient    = "lenient"
)

// httpFlags adds the flags of the HTTP server beside its address.
func httpFlags(f *pflag.FlagSet) {
	f.Var(new(origins), keyCORSOrigin, "`origin` whose pages may read by HTTP, such as https://example.com; may be repeated, or several with commas (CORS_ORIGIN; default: none)")
	f.Bool(keyLenient, false, "ignore fields of events in JSON over HTTP that no event has, and count them; else only those that begin with '_' (LENIENT)")
}

// parseHTTP reads the settings of the HTTP server that there are flags for.
func (s *Settings) parseHTTP(k *koanf.Koanf, has func(string) bool, bad func(string, error) error) (err error) {
	if !has(keyCORSOrigin) {
		return nil
	}
	var list origins
	if err := list.Set(k.String(keyCORSOrigin)); err != nil {
		return bad(keyCORSOrigin, err)
	}
	s.CORSOrigins = list
	if s.Lenient, err = strconv.ParseBool(k.String(keyLenient)); err != nil {
		return bad(keyLenient, fmt.Errorf("%q is neither true nor false", k.String(keyLenient)))
	}
	return nil
}

// origins are origins of pages, as a flag that may be repeated.
type origins []string

// Set adds origins, with commas between them.
func (o *origins) Set(text string) error {
	for _, origin := range strings.Split(text, ",") {
		if origin = strings.TrimSpace(origin); origin == "" || slices.Contains(*o, origin) {
			continue
		}
		if err := httpapi.CheckOrigin(origin); err != nil {
			return err
		}
		*o = append(*o, origin)
	}
	return nil
}

// String returns the origins with commas between them.
func (o *origins) String() string { return strings.Join(*o, ",") }

// Type is the kind of value that help shows.
func (o *origins) Type() string { return "origin" }
