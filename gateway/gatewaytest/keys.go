package gatewaytest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/gatewaytest/fakes"
)

// Keys are keys whose text is their name behind hm_. It implements [auth.Keys] and
// [auth.Observer].
type Keys struct {
	Known map[string]*auth.Principal

	mu       sync.Mutex
	refusals []auth.Refusal
}

// NewKeys returns the keys w, r and a, which have one scope each, none, which has no scope,
// and all, which has all of them.
func NewKeys() *Keys {
	k := &Keys{Known: map[string]*auth.Principal{}}
	for name, scopes := range map[string]auth.Scope{"w": auth.Write, "r": auth.Read, "a": auth.Admin, "none": 0, "all": auth.Write | auth.Read | auth.Admin} {
		k.Add(name, scopes, nil, nil)
	}
	return k
}

// Add adds a key that is narrowed to tokens and holders; nil: to none.
func (k *Keys) Add(name string, scopes auth.Scope, tokens, holders []string) *auth.Principal {
	p := &auth.Principal{Kind: auth.Key, Name: name, ID: name, Scopes: scopes, Session: new(auth.Session)}
	for _, n := range []struct {
		texts []string
		names **auth.Names
	}{{tokens, &p.Tokens}, {holders, &p.Holders}} {
		if n.texts == nil {
			continue
		}
		names, err := auth.ParseNames(n.texts)
		if err != nil {
			panic(err)
		}
		*n.names = names
	}
	k.Known[name] = p
	return p
}

// Principal implements [auth.Keys].
func (k *Keys) Principal(key string) (*auth.Principal, error) {
	if p := k.Known[strings.TrimPrefix(key, auth.KeyPrefix)]; p != nil {
		return p, nil
	}
	return nil, auth.Rejected(auth.Invalid, "the key is not valid", "nobody knows it")
}

// Refused implements [auth.Observer].
func (k *Keys) Refused(r auth.Refusal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refusals = append(k.refusals, r)
}

// Refusals returns what was refused since the last call.
func (k *Keys) Refusals() []auth.Refusal {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.refusals
	k.refusals = nil
	return r
}

// Authenticated makes a world ask for keys.
func (k *Keys) Authenticated(w *World) {
	w.Cfg.Auth = auth.New(auth.Config{Keys: k, Now: func() int64 { return fakes.TestNow }, Observer: k})
}

// With returns a context of calls of gRPC with a key; "" is none.
func With(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+auth.KeyPrefix+key)
}

// Ask sends a request of HTTP with a key, and returns its answer; "" is none.
func (w *World) Ask(t testing.TB, key, method, path, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.Url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", ContentType(path))
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+auth.KeyPrefix+key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}
