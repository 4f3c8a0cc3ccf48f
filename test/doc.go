// Package test holds the tests of the system as a whole: they run the real
// binary and talk to it as its users do.
//
// Some of them score real token transfers, which are not part of this
// repository. They read ../shared/data, beside the checkout, and skip where it
// is absent.
package test
