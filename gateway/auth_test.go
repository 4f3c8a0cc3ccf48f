package gateway_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/gatewaytest"
)

// scopeKeys are the keys of one scope each.
var scopeKeys = map[auth.Need]string{auth.NeedsWrite: "w", auth.NeedsRead: "r", auth.NeedsAdmin: "a"}

// keysFor returns keys that may make a call, and keys that are known and may not.
func keysFor(need auth.Need) (may, mayNot []string) {
	if need == auth.Nothing {
		return []string{"", "none", "wrong", "all"}, nil
	}
	if need == auth.Known {
		return []string{"none", "all"}, nil
	}
	for other, key := range scopeKeys {
		if other != need {
			mayNot = append(mayNot, key)
		}
	}
	return []string{scopeKeys[need], "all"}, append(mayNot, "none")
}

// codeOf calls a method with an empty message, and returns the code of its first answer.
func codeOf(t *testing.T, w *gatewaytest.World, key, method string) codes.Code {
	t.Helper()
	ctx, cancel := context.WithCancel(gatewaytest.With(t.Context(), key))
	defer cancel()
	stream, err := w.Conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err == nil {
		_ = stream.SendMsg(new(emptypb.Empty)) // what went wrong comes with RecvMsg
		_ = stream.CloseSend()
		err = stream.RecvMsg(new(emptypb.Empty))
	}
	if err == io.EOF {
		err = nil
	}
	return status.Code(err)
}

// Every method that is registered has an entry in the table; without the scope that it
// names a call is refused, and with it, it is not.
func TestEveryMethodNeedsItsScope(t *testing.T) {
	t.Parallel()
	keys := gatewaytest.NewKeys()
	w := gatewaytest.NewWorld(t, keys.Authenticated)
	s := grpc.NewServer(w.Gateway.ServerOptions()...)
	w.Gateway.RegisterGRPC(s)
	var registered []string
	for service, info := range s.GetServiceInfo() {
		for _, m := range info.Methods {
			registered = append(registered, "/"+service+"/"+m.Name)
		}
	}
	slices.Sort(registered)
	if !slices.Equal(registered, auth.Methods()) {
		t.Fatalf("the server has the methods\n%q\nand the table of package auth\n%q", registered, auth.Methods())
	}
	for _, method := range registered {
		need := auth.MethodNeed(method)
		may, mayNot := keysFor(need)
		for _, key := range may {
			if code := codeOf(t, w, key, method); code == codes.Unauthenticated || code == codes.PermissionDenied || code == codes.Unimplemented {
				t.Errorf("%s with key %q: %v", method, key, code)
			}
		}
		for _, key := range mayNot {
			if code := codeOf(t, w, key, method); code != codes.PermissionDenied {
				t.Errorf("%s with key %q: %v", method, key, code)
			}
		}
		for _, key := range []string{"", "wrong"} {
			if code := codeOf(t, w, key, method); need != auth.Nothing && code != codes.Unauthenticated {
				t.Errorf("%s with key %q: %v", method, key, code)
			}
		}
	}
	// What there is not is refused before anybody says that there is not.
	if code := codeOf(t, w, "", "/poh.HoldMetrics/Delete"); code != codes.Unauthenticated {
		t.Errorf("no such method, without a key: %v", code)
	}
	if code := codeOf(t, w, "all", "/poh.HoldMetrics/Delete"); code != codes.Unimplemented {
		t.Errorf("no such method: %v", code)
	}
}

// The same of every path of HTTP.
func TestEveryRouteNeedsItsScope(t *testing.T) {
	t.Parallel()
	keys := gatewaytest.NewKeys()
	w := gatewaytest.NewWorld(t, keys.Authenticated, func(w *gatewaytest.World) {
		w.Cfg.HTTP.LogLevel = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	})
	for _, pattern := range w.Gateway.Routes() {
		need := auth.RouteNeed(pattern)
		if need == auth.Unknown {
			t.Errorf("%s has no entry in the table of package auth", pattern)
		}
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = http.MethodPut, pattern
		}
		path = strings.NewReplacer("{holder}", "alice", "{$}", "").Replace(path)
		ask := func(key string) (int, http.Header) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, method, w.Url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if method == http.MethodPost {
				r.Header.Set("Content-Type", gatewaytest.ContentType(path))
			}
			if key != "" {
				r.Header.Set("Authorization", "bearer hm_"+key)
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode, resp.Header
		}
		may, mayNot := keysFor(need)
		for _, key := range may {
			if code, _ := ask(key); code == http.StatusUnauthorized || code == http.StatusForbidden {
				t.Errorf("%s with key %q: %d", pattern, key, code)
			}
		}
		for _, key := range mayNot {
			code, header := ask(key)
			if challenge := header.Get("WWW-Authenticate"); code != http.StatusForbidden || !strings.Contains(challenge, `scope="`+need.String()+`"`) {
				t.Errorf("%s with key %q: %d, %s", pattern, key, code, challenge)
			}
		}
		for _, key := range []string{"", "wrong"} {
			code, header := ask(key)
			if need == auth.Nothing {
				continue
			}
			if challenge := header.Get("WWW-Authenticate"); code != http.StatusUnauthorized || !strings.HasPrefix(challenge, `Bearer realm="holdmetrics"`) || (key != "") != strings.Contains(challenge, "invalid_token") {
				t.Errorf("%s with key %q: %d, %s", pattern, key, code, challenge)
			}
		}
	}
	for _, entry := range auth.Routes() {
		if !slices.ContainsFunc(w.Gateway.Routes(), func(pattern string) bool {
			return pattern == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(pattern, entry)
		}) {
			t.Errorf("the table of package auth has %q, which is no path", entry)
		}
	}
}

// What a header may look like that is no key.
func TestBadCredentials(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, gatewaytest.NewKeys().Authenticated)
	for name, values := range map[string][]string{
		"basic":      {"Basic YTpi"},
		"no scheme":  {"hm_r"},
		"empty":      {""},
		"no token":   {"Bearer "},
		"twice":      {"Bearer hm_r", "Bearer hm_r"},
		"jwt":        {"Bearer a.b.c"},
		"very long":  {"Bearer " + strings.Repeat("x", 20<<10)},
		"prefixed":   {"Bearer xhm_r"},
		"two tokens": {"Bearer hm_r hm_r"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Url+"/stats", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Authorization"] = values
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	// Nor does a key count that stands in the URL.
	if resp, _ := w.Ask(t, "", http.MethodGet, "/stats?access_token=hm_r", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a key in the URL: %s", resp.Status)
	}
}
