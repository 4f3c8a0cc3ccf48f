package httpapi

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// A browser sends requests on behalf of any page that it shows, from inside the network
// of its user. What follows keeps the pages of strangers out:
//
//   - A page whose name was pointed at this server (DNS rebinding) sends its own name as
//     Host. The server answers to addresses, localhost and its configured names only.
//   - A page may post to other origins without asking them first, if the content type is
//     one of a form or is missing. So events are taken with their own content types only.
//   - What the browser says of the page (Origin, Sec-Fetch-Site) is believed.

// AnyName is the name that stands for all names; see [CheckName].
const AnyName = "*"

// CheckName returns an error if a name is none by which clients can reach a server:
// a host name without scheme and port, *.example.com for all below example.com, or
// [AnyName].
func CheckName(name string) error {
	rest := strings.TrimPrefix(name, "*.")
	if name == AnyName {
		return nil
	}
	if rest == "" || strings.ContainsAny(rest, "/:*@ \t") || strings.HasPrefix(rest, ".") {
		return fmt.Errorf("%q is not a host name like hold.example.com, *.example.com or *: write it without scheme and port", name)
	}
	return nil
}

// names are those by which clients may reach the server, beside addresses and localhost.
type names []string

// has reports whether the Host of a request is one of the server. A request without one
// comes from no browser.
func (n names) has(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	// A page is of an address only if the address itself serves it.
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return slices.ContainsFunc(n, func(name string) bool {
		name = strings.ToLower(name)
		below, wild := strings.CutPrefix(name, "*.")
		return name == AnyName || name == host || wild && strings.HasSuffix(host, "."+below)
	})
}

// bodyTypes are the content types of events by path, the usual one first.
var bodyTypes = map[string][]string{
	"/hold":  {"application/json"},
	"/holds": {ndjson, "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json"},
}

// trust decides which requests are served at all. It is safe for concurrent use.
type trust struct {
	names   names
	foreign *http.CrossOriginProtection
}

func newTrust(own []string) *trust {
	return &trust{names: own, foreign: http.NewCrossOriginProtection()}
}

// refuses returns why a request is not served, or nil. The probes of health are served
// under any name, since they tell nothing.
func (t *trust) refuses(r *http.Request) *problem {
	if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return nil
	}
	if !t.names.has(r.Host) {
		return &problem{status: http.StatusMisdirectedRequest,
			message: fmt.Sprintf("this server is not known as %q: name it in --http-names if clients reach it so", clip(r.Host))}
	}
	if err := t.foreign.Check(r); err != nil {
		return &problem{status: http.StatusForbidden, message: "pages of other origins may not send events"}
	}
	want := bodyTypes[r.URL.Path]
	if r.Method != http.MethodPost || want == nil {
		return nil
	}
	got := r.Header.Values("Content-Type")
	if len(got) == 1 {
		kind, _, err := mime.ParseMediaType(got[0])
		if err == nil && slices.Contains(want, kind) {
			return nil
		}
	}
	return &problem{status: http.StatusUnsupportedMediaType,
		message: fmt.Sprintf("the Content-Type is %q: send %s", clip(strings.Join(got, ", ")), want[0])}
}

// clip bounds what an answer repeats of a request.
func clip(s string) string { return s[:min(len(s), 100)] }
