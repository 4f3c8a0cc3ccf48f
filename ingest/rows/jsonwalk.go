package rows

import (
	"encoding/json"
	"strings"

	"holdmetrics/ingest/extjson"
)

// The functions here walk over JSON that was found to be valid.

// flatten calls set with the name and the text of every member of an object. Objects of
// MongoDB's extended JSON are the values that they stand for.
func flatten(object []byte, prefix string, set func(name, text string)) {
	eachMember(object, func(name string, v []byte) {
		name = prefix + name
		switch v[0] {
		case '{':
			if value, ok := extjson.Parse(v); ok {
				set(name, value.Text)
				return
			}
			flatten(v, name+".", set)
		case '[':
			if objects, ok := objectsOf(v); ok && len(objects) > 0 {
				flattenList(objects, name+".", set)
				return
			}
			set(name, list(v))
		default:
			set(name, scalar(v))
		}
	})
}

// flattenList makes of a list of objects a list of each of their members.
func flattenList(objects [][]byte, prefix string, set func(name, text string)) {
	var names []string
	lists := map[string][]string{}
	for _, object := range objects {
		flatten(object, prefix, func(name, text string) {
			if _, ok := lists[name]; !ok {
				names = append(names, name)
			}
			lists[name] = append(lists[name], text)
		})
	}
	for _, name := range names {
		set(name, "["+strings.Join(lists[name], ",")+"]")
	}
}

// list is the text of a list of scalars, such as [7,8].
func list(array []byte) string {
	var texts []string
	eachElement(array, func(v []byte) { texts = append(texts, scalar(v)) })
	return "[" + strings.Join(texts, ",") + "]"
}

// scalar is the text of a value; null has none.
func scalar(v []byte) string {
	switch v[0] {
	case 'n':
		return ""
	case '"':
		return unquote(v)
	}
	return string(v)
}

func unquote(v []byte) string {
	if len(v) >= 2 && v[0] == '"' {
		inner := v[1 : len(v)-1]
		plain := true
		for _, c := range inner {
			plain = plain && c != '\\' && c < 0x80
		}
		if plain {
			return string(inner)
		}
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return string(v)
	}
	return s
}

// eachMember calls f with the members of an object.
func eachMember(object []byte, f func(name string, value []byte)) {
	for i := skipSpace(object, 1); i < len(object) && object[i] == '"'; {
		end := valueEnd(object, i)
		name := unquote(object[i:end])
		i = skipSpace(object, end) + 1 // the colon
		i = skipSpace(object, i)
		end = valueEnd(object, i)
		f(name, object[i:end])
		i = skipSpace(object, end)
		if i < len(object) && object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
}

// eachElement calls f with the elements of an array.
func eachElement(array []byte, f func(value []byte)) {
	for i := skipSpace(array, 1); i < len(array) && array[i] != ']'; {
		end := valueEnd(array, i)
		f(array[i:end])
		i = skipSpace(array, end)
		if i < len(array) && array[i] == ',' {
			i = skipSpace(array, i+1)
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// valueEnd is the index behind the value that begins at i.
func valueEnd(b []byte, i int) int {
	if b[i] == '"' {
		for i++; b[i] != '"'; i++ {
			if b[i] == '\\' {
				i++
			}
		}
		return i + 1
	}
	if b[i] != '{' && b[i] != '[' {
		for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] > ' ' {
			i++
		}
		return i
	}
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = valueEnd(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return i
}
