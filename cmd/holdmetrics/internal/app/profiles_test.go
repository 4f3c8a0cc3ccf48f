package app

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
)

func TestProfilesAreForThisMachineAlone(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"127.0.0.1:6060": true, "[::1]:0": true, "localhost:6060": true,
		"0.0.0.0:6060": false, ":6060": false, "[::]:6060": false, "192.0.2.1:6060": false, "example.org:6060": false, "6060": false,
	} {
		if err := settings.CheckLoopback(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestProfilesAreServed(t *testing.T) {
	t.Parallel()
	p := newProcess(&settings.Settings{}, "test", "serve", Instruments{Log: zap.NewNop()})
	if err := p.startProfiles(); err != nil || p.pprofAddr != nil {
		t.Fatalf("profiles that nobody asked for: %v, %v", p.pprofAddr, err)
	}
	p.settings.PprofAddress = "127.0.0.1:0"
	if err := p.startProfiles(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + p.pprofAddr.String() + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(text), "goroutine profile") {
		t.Errorf("%s: %.100s, %v", response.Status, text, err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}
