// Package auth decides who may do what: it names the caller of a request, and refuses
// what the caller may not do.
//
//	credentials ▶ Authenticator ▶ Principal ▶ table of needs ▶ Caller
//
// A [Principal] is a key, the subject of a JWT, or a client certificate. It has scopes,
// and may be narrowed to tokens and holders. One table ([MethodNeed], [RouteNeed],
// [CommandNeed]) states what each call needs; a call without an entry is refused.
//
// The [Caller] of a request travels in its context. The packages that take events and
// answer reads ask it, so a server cannot forget to. A context without a caller is that
// of code in this process, or of a server without authentication: nothing is refused.
//
// The package knows neither gRPC nor HTTP. Package keys below it keeps the keys, and
// package jwt verifies tokens.
package auth
