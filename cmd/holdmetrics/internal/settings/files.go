package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"holdmetrics/cmd/holdmetrics/internal/usage"
)

// fileSuffix is added to the name of a variable to name the one with the path of a file
// that has the value. Each variable that may hold a secret has such a one.
const fileSuffix = "_FILE"

// mostSecretFile is how large such a file may be.
const mostSecretFile = 64 << 10

// mayBeFile reports whether the value of a setting may be in a file of its own.
func mayBeFile(key string) bool { _, secret := secretSettings[key]; return secret }

// withFile returns the value of a variable, or what the file has that the variable with
// _FILE behind its name names, without white space at its end. source is the name of the
// variable. No error quotes the file.
func withFile(getenv Getenv, name string) (value, source string, err error) {
	value, path := getenv(name), ""
	if mayBeFile(Environment[name]) {
		path = getenv(name + fileSuffix)
	}
	switch {
	case path == "":
		return value, name, nil
	case value != "":
		return "", "", usage.Errorf("%s and %s are both set; set one of them", name, name+fileSuffix)
	}
	text, err := readSecret(path)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", name+fileSuffix, err)
	}
	return text, name + fileSuffix, nil
}

// readSecret reads a file with one value.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostSecretFile+1))
	value := strings.TrimRight(string(text), " \t\r\n")
	switch {
	case err != nil:
		return "", err
	case len(text) > mostSecretFile:
		return "", fmt.Errorf("%s is larger than %d bytes, which no secret is", path, mostSecretFile)
	case value == "":
		return "", fmt.Errorf("%s is empty", path)
	case strings.ContainsAny(value, "\r\n\x00"):
		return "", errors.New(path + " has more than one line")
	}
	return value, nil
}
