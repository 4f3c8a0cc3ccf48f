// Package extjson reads the objects by which MongoDB's extended JSON stands for
// values that JSON does not have, such as {"$date":"2021-07-13T23:30:32Z"}. It takes
// the canonical and the relaxed form, as mongoexport writes them.
package extjson

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// Value is the value that an object stands for.
type Value struct {
	Text   string // without quotes
	Number bool   // the text is that of a number; else it is a text, such as a time or an id
}

// Parse returns the value that a valid JSON object stands for. It returns false if the
// object is not one of extended JSON, or of a type that no field of an event has.
// A $date becomes RFC 3339 in UTC, whatever its form.
func Parse(object []byte) (Value, bool) {
	name, inner, ok := only(object)
	if !ok {
		return Value{}, false
	}
	switch name {
	case "$oid", "$uuid", "$symbol":
		text, ok := unquote(inner)
		return Value{Text: text}, ok
	case "$numberInt", "$numberLong", "$numberDouble", "$numberDecimal":
		text, ok := unquote(inner)
		if !ok {
			text, ok = number(inner)
		}
		return Value{Text: text, Number: true}, ok
	case "$date":
		return date(inner)
	case "$binary":
		var binary struct {
			Base64 string `json:"base64"`
		}
		if inner[0] != '{' || json.Unmarshal(inner, &binary) != nil {
			return Value{}, false
		}
		return Value{Text: binary.Base64}, true
	}
	return Value{}, false
}

// date reads the value of a $date: RFC 3339, or milliseconds since the epoch.
func date(inner []byte) (Value, bool) {
	if text, ok := unquote(inner); ok {
		return Value{Text: text}, true
	}
	text, ok := number(inner)
	if inner[0] == '{' {
		var name string
		if name, inner, ok = only(inner); !ok || name != "$numberLong" {
			return Value{}, false
		}
		text, ok = unquote(inner)
	}
	if !ok {
		return Value{}, false
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return Value{}, false
	}
	return Value{Text: time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)}, true
}

// only returns the member of an object that has one, whose name begins with $.
func only(object []byte) (name string, inner []byte, ok bool) {
	if len(object) == 0 || object[0] != '{' || !bytes.HasPrefix(bytes.TrimLeft(object[1:], " \t\r\n"), []byte(`"$`)) {
		return "", nil, false // by far the most of them
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil || len(members) != 1 {
		return "", nil, false
	}
	for name, inner = range members {
	}
	return name, inner, true
}

func unquote(v []byte) (string, bool) {
	var text string
	return text, v[0] == '"' && json.Unmarshal(v, &text) == nil
}

func number(v []byte) (string, bool) {
	return string(v), v[0] == '-' || v[0] >= '0' && v[0] <= '9'
}
