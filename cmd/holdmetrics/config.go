package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// roles are the commands that have settings.
var roles = map[string]func(*cobra.Command){"serve": settingFlags, "gateway": gatewayFlags, "worker": workerFlags}

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use:   "config [serve|gateway|worker]",
		Short: "Show the settings in force, and where each came from",
		Long: `Config shows what serve, gateway or worker would run with, and whether a value is
the default, or of the file, the environment or a flag: flags beat the
environment, which beats the file (--config), which beats the default. Passwords
are not shown. Without a name it shows the settings of all three.`,
		Example: `  holdmetrics config worker
  holdmetrics config gateway --config /etc/holdmetrics.yaml`,
		ValidArgs: slices.Sorted(maps.Keys(roles)),
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
	}
	c.Flags().AddFlagSet(everySetting())
	c.RunE = func(c *cobra.Command, args []string) error {
		l, err := loadLayers(c.Flags())
		if err != nil {
			return err
		}
		show := c.Flags()
		if len(args) > 0 {
			role := &cobra.Command{}
			roles[args[0]](role)
			show = role.Flags()
			if _, err := parseSettings(l.k, show); err != nil {
				return err
			}
		}
		out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "setting\tvalue\tfrom")
		for _, key := range slices.Sorted(maps.Keys(l.from)) {
			if show.Lookup(key) == nil || key == "help" {
				continue
			}
			value := l.k.String(key)
			if key == keyConfig && value == "" {
				value = os.Getenv(envConfig)
			}
			fmt.Fprintf(out, "%s\t%s\t%s\n", key, shownSetting(key, value), l.from[key])
		}
		return out.Flush()
	}
	return c
}
