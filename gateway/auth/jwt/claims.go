package jwt

import "strings"

// scopePrefix may stand before the name of a scope, where an issuer knows those of several
// services.
const scopePrefix = "holdmetrics:"

// scopeWords returns the words of the claim that has the scopes.
func scopeWords(claim string, all map[string]any) (words []string) {
	claims := []string{claim}
	if claim == "" {
		claims = []string{"scope", "scp"}
	}
	for _, c := range claims {
		list, _ := texts(claimAt(all, c))
		for _, text := range list {
			for _, word := range strings.Fields(text) {
				words = append(words, strings.TrimPrefix(word, scopePrefix))
			}
		}
	}
	return words
}

// claimAt returns a claim. A name that no claim has is a path into objects, with dots.
func claimAt(all map[string]any, path string) any {
	if value, ok := all[path]; ok {
		return value
	}
	name, rest, ok := strings.Cut(path, ".")
	within, isObject := all[name].(map[string]any)
	if !ok || !isObject {
		return nil
	}
	return claimAt(within, rest)
}

// texts returns a claim that is a text, or a list of texts.
func texts(claim any) (list []string, ok bool) {
	switch c := claim.(type) {
	case string:
		return []string{c}, true
	case []any:
		for _, item := range c {
			text, ok := item.(string)
			if !ok {
				return nil, false
			}
			list = append(list, text)
		}
		return list, true
	}
	return nil, false
}
