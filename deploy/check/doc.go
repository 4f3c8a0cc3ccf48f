// Package check holds the tests of what an operator installs: rules and dashboards, and
// what else stands below deploy. They use the programs' own packages, which are large; so
// they are a module of their own, and the product does not depend on them.
//
//	cd deploy/check && go test ./...
package check
