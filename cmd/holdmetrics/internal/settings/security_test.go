package settings

import (
	"strings"
	"testing"
)

func TestSecuritySettings(t *testing.T) {
	t.Parallel()
	for role := range Roles {
		s, err := Read(commandOf(t, nil, role))
		if err != nil || s.Security != (Security{}) {
			t.Errorf("%s: %+v, %v", role, s, err)
		}
		file := writeFile(t, "tls-cert: c\ntls-key: k\ntls-client-ca: a\nauth: on\ninsecure: true\n")
		s, err = Read(commandOf(t, nil, role, "--config", file))
		want := Security{TLSCert: "c", TLSKey: "k", TLSClientCA: "a", Auth: true, Insecure: true}
		if err != nil || s.Security != want {
			t.Errorf("%s: %+v, %v", role, s.Security, err)
		}
		env := map[string]string{"TLS_CERT": "c", "TLS_KEY": "k", "TLS_CLIENT_CA": "a", "AUTH": "on", "INSECURE": "1"}
		if s, err = Read(commandOf(t, env, role)); err != nil || s.Security != want {
			t.Errorf("%s: %+v, %v", role, s.Security, err)
		}
		for flag, want := range map[string]string{
			"--tls-cert=c":      "--tls-key or TLS_KEY: is missing",
			"--tls-key=k":       "--tls-cert or TLS_CERT: is missing",
			"--tls-client-ca=a": "--tls-cert or TLS_CERT: is missing",
			"--auth=yes":        `--auth or AUTH: "yes" is not off or on`,
			"--auth=":           `"" is not off or on`,
		} {
			if _, err := Read(commandOf(t, nil, role, flag)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %s: %v, not %q", role, flag, err, want)
			}
		}
	}
	if _, err := Read(commandOf(t, map[string]string{"INSECURE": "maybe"}, "serve")); err == nil || !strings.Contains(err.Error(), "INSECURE") {
		t.Errorf("INSECURE=maybe: %v", err)
	}
}
