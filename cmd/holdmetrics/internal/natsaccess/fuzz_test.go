package natsaccess

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzFiles reads any file as a user of NATS and as a credentials file. A key that is read
// signs.
func FuzzFiles(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"name":"shop","role":"producer","nkey":"UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"}`,
		"SUAOTYPRXWJQPLLOZQMVTNGUMHFYWBQMLDLZ7NPOSSFIWGWLWJTFDVMHHE\n", "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = readUser(path, "shop")
		_, _ = HasJWT(path)
		public, err := PublicOf(path)
		if err != nil {
			return
		}
		if signature, err := Sign(path, []byte("nonce")); public == "" || err != nil || len(signature) == 0 {
			t.Fatalf("the key %q signs with %v", public, err)
		}
	})
}
