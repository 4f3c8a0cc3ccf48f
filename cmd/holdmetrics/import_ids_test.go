package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdpb "holdmetrics/proto"
)

// tellsRules is a server that answers Status, and has no scores.
type tellsRules struct {
	holdpb.UnimplementedHoldMetricsQueryServer
	answer *holdpb.StatusAnswer
	err    error
}

func (s *tellsRules) Status(context.Context, *holdpb.Empty) (*holdpb.StatusAnswer, error) {
	return s.answer, s.err
}

// An import compares ids as the server's active rules do: two spellings of one address
// beside another id are two holders, or one.
func TestImportTakesIDsFromTheServersRules(t *testing.T) {
	t.Parallel()
	const upper, lower = "0xABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD", "0xabcdefabcdefabcdefabcdefabcdefabcdefabcd"
	mixed := "token_address,from_address,to_address,value,block_timestamp\nT,," + upper + ",5,10\nT,," + lower + ",5,20\nT,,ann,5,30\n"
	for name, c := range map[string]struct {
		server  tellsRules
		flag    string
		text    string
		holders string
		refused string
	}{
		"evm":             {server: tellsRules{answer: &holdpb.StatusAnswer{HolderIds: "evm", TokenIds: "none"}}, text: mixed, holders: "2"},
		"none":            {server: tellsRules{answer: &holdpb.StatusAnswer{HolderIds: "none", TokenIds: "none"}}, text: strings.ReplaceAll(mixed, "T,,ann,5,30\n", ""), holders: "2"},
		"open":            {server: tellsRules{answer: &holdpb.StatusAnswer{}}, text: mixed, holders: "3"},
		"a flag":          {server: tellsRules{err: status.Error(codes.Unavailable, "owners")}, flag: "evm", text: mixed, holders: "2"},
		"earlier version": {server: tellsRules{err: status.Error(codes.Unimplemented, "no")}, text: mixed, holders: "3"},
		"another way":     {server: tellsRules{answer: &holdpb.StatusAnswer{HolderIds: "new"}}, text: mixed, refused: "give --ids"},
		"no answer":       {server: tellsRules{err: status.Error(codes.Unavailable, "owners")}, text: mixed, refused: "give --ids"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := serveGRPC(t, func(server *grpc.Server) {
				holdpb.RegisterHoldMetricsServer(server, &takesAll{before: func() {}})
				holdpb.RegisterHoldMetricsQueryServer(server, &c.server)
			})
			file := filepath.Join(t.TempDir(), "t.csv")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"import", "transfers", file, "--server", address}
			if c.flag != "" {
				args = append(args, "--ids", c.flag)
			}
			var out, errText bytes.Buffer
			code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errText})
			if c.refused != "" {
				if code != exitFailed || !strings.Contains(errText.String(), c.refused) {
					t.Errorf("code %d: %s", code, errText.String())
				}
				return
			}
			if got := strings.Join(strings.Fields(out.String()), " "); code != 0 || !strings.Contains(got, " holders "+c.holders+" ") {
				t.Errorf("code %d: %s; %s", code, got, errText.String())
			}
		})
	}
}
