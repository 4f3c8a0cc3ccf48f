package legal

import (
	"bytes"
	"fmt"
	"strings"
)

// Text returns the licences and notices of modules as one text, each text once.
func Text(modules []*Module) []byte {
	type same struct {
		text  []byte
		names []string
	}
	var all []*same
	index := map[string]*same{}
	for _, m := range modules {
		for _, f := range m.Files {
			text := bytes.TrimSpace(bytes.ReplaceAll(f.Text, []byte("\r\n"), []byte("\n")))
			s := index[string(text)]
			if s == nil {
				s = &same{text: text}
				index[string(text)] = s
				all = append(all, s)
			}
			s.names = append(s.names, fmt.Sprintf("%s %s, %s", m.Path, m.Version, f.Name))
		}
	}
	var out bytes.Buffer
	out.WriteString("holdmetrics is under the Apache License 2.0. It contains the modules below, under their own licences.\n\n")
	for _, m := range modules {
		fmt.Fprintf(&out, "%s %s: %s\n", m.Path, m.Version, strings.Join(m.Licenses, ", "))
	}
	for _, s := range all {
		fmt.Fprintf(&out, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(s.names, "\n"), s.text)
	}
	return out.Bytes()
}
