package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hashicorp/go-envparse"

	"holdmetrics/cmd/holdmetrics/internal/usage"
)

// EnvDotEnv is the variable that names the file of variables.
const EnvDotEnv = "DOTENV"

const defaultDotEnv = ".env"

// dotEnv is a file of variables. Its zero value sets none.
type dotEnv struct {
	path   string
	values map[string]string
}

// readDotEnv reads the file that [EnvDotEnv] names, or .env of the working directory,
// which need not exist. No error quotes any part of the file, which may have passwords.
func readDotEnv(getenv Getenv) (dotEnv, error) {
	path := getenv(EnvDotEnv)
	named := path != ""
	if !named {
		path = defaultDotEnv
		// A directory of this name is no file of variables: Python's virtual environments are called so.
		if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
			return dotEnv{}, nil
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return dotEnv{}, usage.Errorf("the variables of %s cannot be read: %w; %s names another file", path, err, EnvDotEnv)
	}
	values, err := envparse.Parse(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	if err != nil {
		where := path
		var at *envparse.ParseError
		if errors.As(err, &at) {
			where = fmt.Sprintf("%s:%d", path, at.Line)
		}
		return dotEnv{}, usage.Errorf("%s: the line is not NAME=VALUE: put a value with quotes or backslashes in single quotes", where)
	}
	return dotEnv{path, values}, nil
}

// under returns getenv with the file beneath it: a variable that getenv has set wins.
func (d dotEnv) under(getenv Getenv) Getenv {
	return func(name string) string {
		if value := getenv(name); value != "" || name == EnvDotEnv {
			return value
		}
		return d.values[name]
	}
}
