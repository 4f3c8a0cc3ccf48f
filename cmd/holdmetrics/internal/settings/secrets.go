package settings

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

// secretSettings maps the settings whose values may contain passwords to the check of
// a value, or to nil where the whole value is a secret. No error of a check quotes any
// part of the value.
var secretSettings = map[string]func(value string) error{
	KeyNATSURL:      func(value string) error { _, err := NATSServers(value); return err },
	KeyNATSMonitor:  checkMonitor,
	KeyMongoURL:     checkMongoURL,
	keyNATSPassword: nil,
	keyNATSToken:    nil,
}

// isSecret reports whether the whole value of a setting is a secret.
func isSecret(key string) bool {
	check, secret := secretSettings[key]
	return secret && check == nil
}

// scheme is how a URL begins.
var scheme = regexp.MustCompile(`^\s*[a-zA-Z][a-zA-Z0-9+.-]*://`)

// urlHint is said of each URL that cannot be read.
const urlHint = "the value is not shown, as it may have a password in it (hint: in a password %, /, ?, #, @ and commas are written as %25, %2F, %3F, %23, %40 and %2C)"

// NATSServers reads a comma-separated list of NATS servers and returns it as it is
// dialled: a server without a scheme gets nats://.
func NATSServers(list string) (string, error) {
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

// checkMonitor returns an error unless the URL can be that of a monitoring port.
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

// readURL reads the URL of one server. Its errors do not quote the text, unlike those
// of net/url.
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
	// Otherwise the parsed host is the beginning of a password.
	if _, rest, _ := strings.Cut(text, "://"); strings.ContainsAny(rest, "/?#") && strings.Contains(rest[strings.IndexAny(rest, "/?#"):], "@") {
		return nil, errors.New("an @ follows the host")
	}
	return u, nil
}

// InnerError returns an error without the URL that net/url and net/http put before it.
func InnerError(err error) error {
	var at *url.Error
	for errors.As(err, &at) {
		err = at.Err
	}
	return err
}

// Mask returns a value that may be shown. It drops everything before the last @ of a
// URL or of a list of URLs, since a password may contain a comma, and the options of
// a URL, any of which may be a password.
func Mask(value string) string {
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

// Shown returns the value of a setting as it may be shown. A value that cannot be read
// is hidden whole, since the place of a password in it is unknown.
func Shown(key, value string) string {
	if check, secret := secretSettings[key]; secret && value != "" && (check == nil || check(value) != nil) {
		return "***"
	}
	return Mask(value)
}

// shortestSecret is the length from which a password is searched for on its own:
// shorter ones occur in other words too.
const shortestSecret = 6

// Secrets are texts that must not be shown, the longest first.
type Secrets []string

// SecretsOf returns the secrets in the settings of a command. It is the last line of
// defence: nothing that is printed should contain them anyway.
func SecretsOf(c *cobra.Command) (s Secrets) {
	if c == nil {
		return nil
	}
	l, err := Load(c)
	if err != nil {
		return nil
	}
	for key := range secretSettings {
		switch {
		case l.From[key] == FromDefault:
		case isSecret(key):
			s.addText(l.Values.String(key))
		default:
			s.add(l.Values.String(key))
		}
	}
	s.addHeaders(EnvironmentOf(c))
	slices.SortFunc(s, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return slices.Compact(s)
}

// add adds the secrets of a URL, or of a list of URLs.
func (s *Secrets) add(value string) {
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

// addText adds a text as written, as decoded, and as a message quotes either.
func (s *Secrets) addText(text string) {
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

// Hide returns the text with each secret replaced by ***.
func (s Secrets) Hide(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// Writer returns a writer to out that hides the secrets. Each Write must be a whole
// message.
func (s Secrets) Writer(out io.Writer) io.Writer {
	if len(s) == 0 {
		return out
	}
	return hidingWriter{s, out}
}

// hidingWriter passes text on with its secrets hidden.
type hidingWriter struct {
	secrets Secrets
	out     io.Writer
}

func (w hidingWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.out, w.secrets.Hide(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// checkMongoURL returns an error unless the driver can read the URL.
func checkMongoURL(value string) error {
	if err := mongo.CheckURL(value); err != nil {
		return fmt.Errorf("%w; %s", err, urlHint)
	}
	return nil
}
