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
	keyHTTPNames  = "http-names"
	keyLenient    = "lenient"
)

// httpFlags adds the flags of the HTTP server beside its address.
func httpFlags(f *pflag.FlagSet) {
	f.Var(new(origins), keyCORSOrigin, "`origin` whose pages may read by HTTP, such as https://example.com; may be repeated, or several with commas (CORS_ORIGIN; default: none)")
	f.Var(new(hostNames), keyHTTPNames, "`name` by which clients reach the HTTP server, such as hold.example.com, *.example.com or * for any; may be repeated, or several with commas (HTTP_NAMES; default: addresses, localhost and the name of the machine only)")
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
	var own hostNames
	if err := own.Set(k.String(keyHTTPNames)); err != nil {
		return bad(keyHTTPNames, err)
	}
	s.HTTPNames = own
	if s.Lenient, err = strconv.ParseBool(k.String(keyLenient)); err != nil {
		return bad(keyLenient, fmt.Errorf("%q is neither true nor false", k.String(keyLenient)))
	}
	return nil
}

// origins are origins of pages, as a flag that may be repeated.
type origins []string

// Set adds origins, with commas between them.
func (o *origins) Set(text string) error { return addTo(o, text, httpapi.CheckOrigin) }

// String returns the origins with commas between them.
func (o *origins) String() string { return strings.Join(*o, ",") }

// Type is the kind of value that help shows.
func (o *origins) Type() string { return "origin" }

// hostNames are names of a server, as a flag that may be repeated.
type hostNames []string

// Set adds names, with commas between them.
func (n *hostNames) Set(text string) error { return addTo(n, text, httpapi.CheckName) }

// String returns the names with commas between them.
func (n *hostNames) String() string { return strings.Join(*n, ",") }

// Type is the kind of value that help shows.
func (n *hostNames) Type() string { return "name" }

// addTo adds the items of a text with commas between them to a list, each once.
func addTo[L ~[]string](list *L, text string, check func(string) error) error {
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item == "" || slices.Contains(*list, item) {
			continue
		}
		if err := check(item); err != nil {
			return err
		}
		*list = append(*list, item)
	}
	return nil
}
