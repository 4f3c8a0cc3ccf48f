package ports

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
)

// Listen opens a port; that it is taken is an error that says what to do.
func Listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("another program listens on %s; stop it, or choose another address with --%s (port 0 takes a free one)", address, key)
	}
	return nil, fmt.Errorf("cannot listen on --%s %s: %w", key, address, err)
}

// ListenSafely opens a port of a server that answers by the settings of who may reach
// it. Beyond loopback it refuses to, unless there are TLS and authentication, or the
// settings say that it is insecure on purpose; then it logs so.
func ListenSafely(key, address string, s *settings.Security, log *zap.Logger) (net.Listener, error) {
	l, err := Listen(key, address)
	if err != nil {
		return nil, err
	}
	lacks := Lacks(l.Addr(), s)
	switch {
	case lacks == "":
		return l, nil
	case !s.Insecure:
		err := usage.Errorf("%s: other machines can reach %s, and there is no %s: give %s, or listen on 127.0.0.1, or say --%s to serve everybody who can connect",
			settings.Describe(key), address, lacks, remedies(s), settings.KeyInsecure)
		return nil, errors.Join(err, l.Close())
	}
	log.Warn("insecure: other machines can reach the server, and it serves everybody who can connect",
		zap.Stringer("address", l.Addr()), zap.String("setting", key), zap.String("lacks", lacks))
	return l, nil
}

// Lacks returns in words what an address lacks to be safe: TLS, authentication, or both.
// It returns "" for one that only this machine can reach.
func Lacks(address net.Addr, s *settings.Security) string {
	if tcp, ok := address.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return ""
	}
	var lacks []string
	if !s.HasTLS() {
		lacks = append(lacks, "TLS")
	}
	if !s.HasAuthentication() {
		lacks = append(lacks, "authentication")
	}
	return strings.Join(lacks, " and no ")
}

// remedies returns the flags that add what the settings lack.
func remedies(s *settings.Security) string {
	var flags []string
	if !s.HasTLS() {
		flags = append(flags, fmt.Sprintf("--%s and --%s", settings.KeyTLSCert, settings.KeyTLSKey))
	}
	if !s.HasAuthentication() {
		flags = append(flags, fmt.Sprintf("--%s %s (or --%s)", settings.KeyAuth, settings.AuthOn, settings.KeyTLSClientCA))
	}
	return strings.Join(flags, ", and ")
}
