package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"holdmetrics/projection/mongo"
)

// secretSettings are the settings whose values have passwords in them, with what
// says whether a value can be one. No error of these has any part of the value.
var secretSettings = map[string]func(value string) error{
	keyNATSURL:     func(value string) error { _, err := natsServers(value); return err },
	keyNATSMonitor: checkMonitor,
	keyMongoURL:    checkMongoURL,
}

// scheme is how a URL begins.
var scheme = regexp.MustCompile(`^\s*[a-zA-Z][a-zA-Z0-9+.-]*://`)

// urlHint is said of each URL that cannot be read.
const urlHint = "the value is not shown, as it may have a password in it (hint: in a password %, /, ?, #, @ and commas are written as %25, %2F, %3F, %23, %40 and %2C)"

// natsServers reads a list of NATS servers with commas between them and gives it
// as it is dialled: a server without a scheme is one of nats://.
func natsServers(list string) (string, error) {
	var servers []string
	websockets := 0
	items := strings.Split(list, ",")
	for i, item := range items {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		if !scheme.MatchString(item) {
			item = "nats://" + item
		}
		which := ""
		if len(items) > 1 {
			which = fmt.Sprintf("server %d of the list ", i+1)
		}
		u, err := readURL(item)
		if err != nil {
			return "", fmt.Errorf("%sis not nats://USER:PASSWORD@HOST:PORT: %w; %s", which, err, urlHint)
		}
		switch u.Scheme {
		case "nats", "tls":
		case "ws", "wss":
			websockets++
		default:
			return "", fmt.Errorf("%sis to begin with nats://, tls://, ws:// or wss://; %s", which, urlHint)
		}
		servers = append(servers, item)
	}
	switch {
	case len(servers) == 0:
		return "", errors.New("is empty")
	case websockets > 0 && websockets < len(servers):
		return "", errors.New("has servers of ws:// or wss:// beside others; a connection is to the ones or to the others")
	}
	return strings.Join(servers, ","), nil
}

// checkMonitor says whether a monitoring port can be asked at the URL.
func checkMonitor(value string) error {
	if value == "" {
		return nil // nobody looks
	}
	u, err := readURL(value)
	if err == nil && u.Scheme != "http" && u.Scheme != "https" {
		err = errors.New("it is to begin with http:// or https://")
	}
	if err != nil {
		return fmt.Errorf("is not http://HOST:PORT: %w; %s", err, urlHint)
	}
	return nil
}

// readURL reads the URL of one server. Its errors have nothing of the text, which
// those of net/url quote.
func readURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		var escape url.EscapeError
		switch {
		case errors.As(err, &escape):
			return nil, errors.New("a % is not followed by two hexadecimal digits")
		case strings.Contains(err.Error(), "invalid port"):
			return nil, errors.New("the port is no number")
		}
		return nil, errors.New("it does not parse")
	}
	if u.Host == "" {
		return nil, errors.New("it has no host")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n > 65535 {
			return nil, errors.New("the port is no number up to 65535")
		}
	}
	// Then what was taken for the host is the front of a password.
	if _, rest, _ := strings.Cut(text, "://"); strings.ContainsAny(rest, "/?#") && strings.Contains(rest[strings.IndexAny(rest, "/?#"):], "@") {
		return nil, errors.New("an @ follows the host")
	}
	return u, nil
}

// inner is an error without the URL that net/url and net/http put before it.
func inner(err error) error {
	var at *url.Error
	for errors.As(err, &at) {
		err = at.Err
	}
	return err
}

// masked is a value as it may be shown: without what stands before the last @ of a
// URL, or of a list of them, since a password may have a comma in it, and without
// the options of one, any of which may be a password.
func masked(value string) string {
	begin := scheme.FindString(value)
	rest := value[len(begin):]
	at := strings.LastIndex(rest, "@")
	if at >= 0 {
		rest = "***" + rest[at:]
	}
	if begin != "" || at >= 0 {
		if address, _, options := strings.Cut(rest, "?"); options {
			rest = address + "?***"
		}
	}
	return begin + rest
}

// shownSetting is the value of a setting as it may be shown. One that cannot be
// read is not shown at all: where a password stands in it is not known.
func shownSetting(key, value string) string {
	if check, secret := secretSettings[key]; secret && value != "" && check(value) != nil {
		return "***"
	}
	return masked(value)
}

// shortestSecret is the shortest password that is looked for on its own: shorter
// ones stand in other words too.
const shortestSecret = 6

// secrets are texts that nobody is to see, the longest first.
type secrets []string

// secretsOf are those of the settings that a command was given, as far as these can
// be read. It is the last line of defence: what is printed is to have none anyway.
func secretsOf(c *cobra.Command) (s secrets) {
	if c == nil {
		return nil
	}
	l, err := loadLayers(c.Flags())
	if err != nil {
		return nil
	}
	for key := range secretSettings {
		if l.from[key] != fromDefault {
			s.add(l.k.String(key))
		}
	}
	slices.SortFunc(s, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return slices.Compact(s)
}

// add adds what is secret of a URL, or of a list of them.
func (s *secrets) add(value string) {
	for _, item := range append(strings.Split(value, ","), value) {
		item = strings.TrimSpace(item)
		rest := item[len(scheme.FindString(item)):]
		at := strings.LastIndex(rest, "@")
		if at <= 0 {
			continue
		}
		user := rest[:at]
		s.addText(user)
		if _, password, both := strings.Cut(user, ":"); both {
			s.addText(password)
		}
	}
}

// addText adds a text as it is written, as it is meant, and as a message quotes either.
func (s *secrets) addText(text string) {
	plain, err := url.PathUnescape(text)
	if err != nil {
		plain = text
	}
	for _, t := range []string{text, plain} {
		once := strconv.Quote(t)
		once = once[1 : len(once)-1]
		twice := strconv.Quote(once) // a log quotes what an error quotes
		for _, form := range []string{t, once, twice[1 : len(twice)-1]} {
			if len(form) >= shortestSecret {
				*s = append(*s, form)
			}
		}
	}
}

// hide is a text without them.
func (s secrets) hide(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// writer hides them in what is written to out, which comes a message at a time.
func (s secrets) writer(out io.Writer) io.Writer {
	if len(s) == 0 {
		return out
	}
	return hidingWriter{s, out}
}

type hidingWriter struct {
	secrets secrets
	out     io.Writer
}

func (w hidingWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.out, w.secrets.hide(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// checkMongoURL says whether the driver can read the URL.
func checkMongoURL(value string) error {
	if err := mongo.CheckURL(value); err != nil {
		return fmt.Errorf("%w; %s", err, urlHint)
	}
	return nil
}
