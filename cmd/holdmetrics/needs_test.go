package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/auditlogcmd"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway/auth"
)

// Every command states what it needs, in the table of package auth, and the table has no
// command that there is not. What a command connects to fits with it.
func TestEveryCommandStatesItsNeed(t *testing.T) {
	t.Parallel()
	var there []string
	eachCommand(newRoot(), func(c *cobra.Command) {
		_, path, ok := strings.Cut(c.CommandPath(), " ")
		if !ok || c.Hidden {
			return
		}
		there = append(there, path)
		need := auth.CommandNeed(path)
		byGRPC, byNATS := c.Flag("server") != nil, c.Flag(settings.KeyNATSURL) != nil
		switch {
		case need == auth.Unknown:
			t.Errorf("%s has no entry in the table of package auth", path)
		case need == auth.Process, path == "config", path == "healthcheck": // they have the settings of servers
		case byNATS && need != auth.NeedsBroker:
			t.Errorf("%s has --%s, and needs %v", path, settings.KeyNATSURL, need)
		case byGRPC && !byNATS && need != auth.NeedsWrite && need != auth.NeedsRead && need != auth.Nothing:
			t.Errorf("%s has --server, and needs %v", path, need)
		case !byGRPC && !byNATS && need != auth.Local && !c.HasSubCommands():
			t.Errorf("%s connects to nothing, and needs %v", path, need)
		}
		if auditlogcmd.IsAct(path) && need != auth.NeedsBroker {
			t.Errorf("%s is an act of operators, and needs %v", path, need)
		}
	})
	for _, path := range auth.Commands() {
		if !slices.Contains(there, path) {
			t.Errorf("the table of package auth has %q, which is no command", path)
		}
	}
}
