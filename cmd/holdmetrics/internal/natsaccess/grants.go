package natsaccess

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// LogAccount is the account of the log on a NATS cluster, which deploy/nats describes.
const LogAccount = "HOLD"

// AccountOf returns the account that the users of a role have on a NATS cluster.
func AccountOf(role Role) string {
	if grant := GrantOf(role, "1"); grant.IsApart() {
		return LogAccount + "_" + strings.ToUpper(string(role))
	}
	return LogAccount
}

// WriteGrants writes what every role may do as configuration of nats-server: a variable
// with the permissions of each role, one with the exports of the account of the log, and
// one with the imports of each other account. Readers may read the snapshots of these
// generations.
func WriteGrants(w io.Writer, generations ...string) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, `# What each role may do on a NATS cluster; holdmetrics.conf includes this file.
# 'holdmetrics nats-creds grants' writes it: do not edit it by hand. Readers may read the
# generations %s. Name others with --generation.
`, strings.Join(generations, ", "))
	services, streams := map[string][]string{}, map[string][]string{} // the accounts that use a subject
	for _, role := range Roles() {
		grant, variable := GrantOf(role, generations...), strings.ToUpper(string(role))
		fmt.Fprintf(b, "\n%s_MAY: {\n", variable)
		writePermission(b, "publish", grant.Publish, grant.DenyPublish)
		writePermission(b, "subscribe", grant.Subscribe, nil)
		b.WriteString("}\n")
		if !grant.IsApart() {
			continue
		}
		fmt.Fprintf(b, "%s_IMPORTS: [\n", variable)
		for _, subject := range withInfo(grant.Services) {
			fmt.Fprintf(b, "  {service: {account: %s, subject: %q}}\n", LogAccount, subject)
			services[subject] = append(services[subject], AccountOf(role))
		}
		for _, subject := range grant.Streams {
			fmt.Fprintf(b, "  {stream: {account: %s, subject: %q}}\n", LogAccount, subject)
			streams[subject] = append(streams[subject], AccountOf(role))
		}
		b.WriteString("]\n")
	}
	fmt.Fprintf(b, "\n%s_EXPORTS: [\n", LogAccount)
	for _, subject := range slices.Sorted(maps.Keys(services)) {
		// One request for many messages has an answer of many.
		fmt.Fprintf(b, "  {service: %q, response_type: stream, accounts: [%s]}\n", subject, strings.Join(services[subject], ", "))
	}
	for _, subject := range slices.Sorted(maps.Keys(streams)) {
		fmt.Fprintf(b, "  {stream: %q, accounts: [%s]}\n", subject, strings.Join(streams[subject], ", "))
	}
	b.WriteString("]\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// withInfo adds a request that an account must import to use the JetStream of another one:
// without it nats-server answers all requests of the API in the account itself, with
// "JetStream not enabled". The permissions decide who may send it.
func withInfo(services []string) []string {
	const info = api + "INFO"
	if slices.Contains(services, info) || !slices.ContainsFunc(services, func(s string) bool { return strings.HasPrefix(s, api) }) {
		return services
	}
	return append([]string{info}, services...)
}

// writePermission writes which subjects may be used one way.
func writePermission(b *strings.Builder, way string, allow, deny []string) {
	fmt.Fprintf(b, "  %s: {\n", way)
	for _, list := range []struct {
		name     string
		subjects []string
	}{{"allow", allow}, {"deny", deny}} {
		if len(list.subjects) == 0 {
			continue
		}
		fmt.Fprintf(b, "    %s: [\n", list.name)
		for _, subject := range list.subjects {
			fmt.Fprintf(b, "      %q\n", subject)
		}
		b.WriteString("    ]\n")
	}
	b.WriteString("  }\n")
}

// FirstGenerations returns the generations whose snapshots readers of deploy/nats may
// read: those that get a number as their name, up to 9.
func FirstGenerations() (names []string) {
	for i := range 9 {
		names = append(names, strconv.Itoa(i+1))
	}
	return names
}
