// Package keys keeps the API keys in a key-value bucket of NATS: [Store] is what operators
// change it with, and [Set] is what a gateway knows of it.
//
// A key is hm_ID_SECRET. The bucket has the SHA-256 of a salt and the secret, never the
// secret. One round of a fast hash is right here: a secret has 256 random bits, so nobody
// can try all of them, and slow hashes exist for passwords that people make up. The hash is
// computed for each request, so nothing is cached, and a key that was revoked is refused
// from the next request on.
package keys
