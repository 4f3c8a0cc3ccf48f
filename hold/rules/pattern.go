package rules

import (
	"strings"
	"unicode/utf8"
)

// pattern is ids with * for any text and ? for any one character. A backslash
// takes the next character as it stands.
type pattern struct {
	text  string
	steps []patternStep
}

// patternStep is a text that stands there, or one of the wildcards.
type patternStep struct {
	literal string // empty: a wildcard
	star    bool   // *, else ?
}

// compilePattern reads a pattern; false where it ends in a lone backslash.
func compilePattern(text string) (pattern, bool) {
	p := pattern{text: text}
	var literal []byte
	flush := func() {
		if len(literal) > 0 {
			p.steps = append(p.steps, patternStep{literal: string(literal)})
			literal = literal[:0]
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '*':
			flush()
			if n := len(p.steps); n == 0 || !p.steps[n-1].star {
				p.steps = append(p.steps, patternStep{star: true})
			}
		case '?':
			flush()
			p.steps = append(p.steps, patternStep{})
		case '\\':
			if i++; i == len(text) {
				return pattern{}, false
			}
			literal = append(literal, text[i])
		default:
			literal = append(literal, c)
		}
	}
	flush()
	return p, true
}

// wild reports whether the pattern matches more than one id.
func (p *pattern) wild() bool {
	return len(p.steps) != 1 || p.steps[0].literal == ""
}

// match reports whether the pattern covers all of id. It only ever goes back to the
// latest star, so it takes no more steps than id is long times those of the pattern.
func (p *pattern) match(id string) bool {
	steps := p.steps
	var afterStar []patternStep // what stands behind the latest star
	var again string            // where that is tried next; one character further each time
	for {
		switch {
		case len(steps) > 0 && steps[0].star:
			if steps = steps[1:]; len(steps) == 0 {
				return true
			}
			afterStar, again = steps, id
			continue
		case len(steps) > 0:
			if n := steps[0].eat(id); n >= 0 {
				steps, id = steps[1:], id[n:]
				continue
			}
		case id == "":
			return true
		}
		if afterStar == nil || again == "" {
			return false
		}
		_, n := utf8.DecodeRuneInString(again)
		again = again[n:]
		steps, id = afterStar, again
	}
}

// eat is how many bytes at the front of id the step, which is no star, stands
// for; below 0: it does not match.
func (s *patternStep) eat(id string) int {
	switch {
	case s.literal != "":
		if strings.HasPrefix(id, s.literal) {
			return len(s.literal)
		}
	case id != "" && !strings.HasPrefix(id, anyText):
		_, n := utf8.DecodeRuneInString(id)
		return n
	}
	return -1
}

// anyText stands for a star in the text of a pattern; no id has it.
const anyText = "\x00"

// covers reports whether p surely matches whatever q does: it matches q's own text
// where only a star stands for a star. It may miss some, like ?* over *?.
func (p *pattern) covers(q *pattern) bool {
	var text strings.Builder
	for _, s := range q.steps {
		switch {
		case s.literal != "":
			text.WriteString(s.literal)
		case s.star:
			text.WriteString(anyText)
		default:
			text.WriteString("\x01") // some character, which no literal is
		}
	}
	return p.match(text.String())
}
