package natsaccess

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nkeys"
)

// DirectoryName is the directory of a data directory that has the users of the embedded
// NATS server. It is no part of a backup.
const DirectoryName = "nats-users"

const (
	// OperatorSeed is the file of that directory that has the private key of the operator.
	OperatorSeed = "operator.seed"
	userSuffix   = ".user"
	mostUserFile = 4 << 10
)

// User is somebody who may connect to the embedded NATS server.
type User struct {
	Name    string    `json:"-"`
	Role    Role      `json:"role"`
	Nkey    string    `json:"nkey"` // public
	Created time.Time `json:"created"`
}

// Users are the users of a data directory.
type Users struct{ dir string }

// UsersOf returns the users of a data directory, which need not be there yet.
func UsersOf(dataDir string) Users { return Users{filepath.Join(dataDir, DirectoryName)} }

// Errors that callers decide on.
var (
	// ErrNoUser: there is no user of that name.
	ErrNoUser = errors.New("there is no NATS user of that name")
	// ErrUserExists: there is one.
	ErrUserExists = errors.New("there is a NATS user of that name")
)

var userName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// CheckUserName returns an error if a user cannot have the name.
func CheckUserName(name string) error {
	switch {
	case !userName.MatchString(name):
		return fmt.Errorf("the name %q is not made of 1 to 64 letters, digits, '-' and '_'", name)
	case name == string(Operator) || name == anonymous:
		return fmt.Errorf("the name %q is taken by the server: choose another", name)
	}
	return nil
}

// EnsureOperator makes the private key of the operator if there is none.
func (u Users) EnsureOperator() error {
	if err := os.MkdirAll(u.dir, 0o700); err != nil {
		return fmt.Errorf("the directory of the NATS users cannot be made: %w", err)
	}
	path := filepath.Join(u.dir, OperatorSeed)
	if _, err := os.Stat(path); err == nil {
		return os.Chmod(path, 0o600)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, seed, err := newKey()
	if err != nil {
		return err
	}
	// A crash may leave part of a file, but not under this name.
	if err := writePrivate(path+".new", seed); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// SeedPath returns the path of the private key of the operator.
func (u Users) SeedPath() string { return filepath.Join(u.dir, OperatorSeed) }

// newKey returns a new key of a user, and the seed of its private part.
func newKey() (public string, seed []byte, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", nil, err
	}
	defer pair.Wipe()
	if public, err = pair.PublicKey(); err != nil {
		return "", nil, err
	}
	seed, err = pair.Seed()
	return public, slices.Clone(seed), err // Wipe wipes what the pair has
}

// writePrivate writes a file that only its owner can read, in place of what is there.
func writePrivate(path string, text []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// Create makes a user. Without a public key of his own it makes a pair of keys, and
// returns the seed of the private one, which is kept nowhere.
func (u Users) Create(user User, now time.Time) (seed []byte, err error) {
	if err := CheckUserName(user.Name); err != nil {
		return nil, err
	}
	if !slices.Contains([]Role{Producer, Reader, Operator}, user.Role) {
		return nil, fmt.Errorf("the role %q is not %s, %s or %s", user.Role, Producer, Reader, Operator)
	}
	if user.Nkey == "" {
		if user.Nkey, seed, err = newKey(); err != nil {
			return nil, err
		}
	}
	if !nkeys.IsValidPublicUserKey(user.Nkey) {
		return nil, fmt.Errorf("%q is not the public nkey of a user, which begins with U", user.Nkey)
	}
	all, err := u.List()
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if other.Nkey == user.Nkey {
			return nil, fmt.Errorf("the NATS user %s has this nkey: make another key", other.Name)
		}
	}
	user.Created = now.UTC().Truncate(time.Second)
	text, err := json.Marshal(user)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(u.dir, 0o700); err != nil {
		return nil, err
	}
	// Linking does not replace another user of the name, and shows no half of a file.
	path := filepath.Join(u.dir, user.Name+userSuffix)
	temporary := path + ".new"
	if err := writePrivate(temporary, text); err != nil {
		return nil, err
	}
	err = os.Link(temporary, path)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%w: %s", ErrUserExists, user.Name)
	}
	return seed, errors.Join(err, os.Remove(temporary))
}

// Revoke removes a user.
func (u Users) Revoke(name string) error {
	if err := CheckUserName(name); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(u.dir, name+userSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNoUser, name)
	}
	return err
}

// List returns the users by their names, without the operator of the server. A file that
// cannot be read is an error beside the users of the others.
func (u Users) List() ([]User, error) {
	entries, err := os.ReadDir(u.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []User
	var damaged error
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), userSuffix)
		if !is {
			continue
		}
		user, err := readUser(filepath.Join(u.dir, e.Name()), name)
		switch {
		case errors.Is(err, fs.ErrNotExist): // revoked just now
		case err != nil:
			damaged = errors.Join(damaged, fmt.Errorf("the NATS user of %s is refused, as the file cannot be read: %w", filepath.Join(u.dir, e.Name()), err))
		default:
			all = append(all, user)
		}
	}
	return all, damaged
}

// readUser reads the file of a user.
func readUser(path, name string) (User, error) {
	user := User{Name: name}
	info, err := os.Stat(path)
	if err != nil {
		return user, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostUserFile {
		return user, errors.New("it is no file of a user")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return user, err
	}
	if err := json.Unmarshal(text, &user); err != nil {
		return user, err
	}
	switch {
	case CheckUserName(name) != nil:
		return user, CheckUserName(name)
	case !slices.Contains([]Role{Producer, Reader, Operator}, user.Role):
		return user, fmt.Errorf("the role %q is none", user.Role)
	case !nkeys.IsValidPublicUserKey(user.Nkey):
		return user, errors.New("it has no public nkey")
	}
	return user, nil
}

// operator returns the operator of the server.
func (u Users) operator() (User, error) {
	public, err := PublicOf(u.SeedPath())
	return User{Name: string(Operator), Role: Operator, Nkey: public}, err
}

// PublicOf returns the public key of the seed in a file. No error quotes the file.
func PublicOf(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return "", fmt.Errorf("%s has no seed of an nkey, which begins with SU", path)
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

// Sign signs a nonce with the seed in a file.
func Sign(path string, nonce []byte) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s has no seed of an nkey, which begins with SU", path)
	}
	defer pair.Wipe()
	return pair.Sign(nonce)
}

// HasJWT reports whether a file of credentials has a JWT beside its seed.
func HasJWT(path string) (bool, error) {
	text, err := os.ReadFile(path)
	return strings.Contains(string(text), "BEGIN NATS USER JWT"), err
}

// Readable reports whether this process can read a file.
func Readable(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	return f.Close() == nil
}
