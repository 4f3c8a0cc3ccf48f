package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"holdmetrics/projection"
)

// temporaryCodes are answers of a server that is about to be one that can: it
// steps down or starts up, a node is missing, a lock or a resource is taken. The
// list is that of the driver's retryable errors and what a retry of ours can wait
// for beyond it.
var temporaryCodes = []int{
	6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436, // retryable by the specification
	24,    // LockTimeout
	43,    // CursorNotFound: the walk begins again where it stood
	50,    // MaxTimeMSExpired
	64,    // WriteConcernFailed: a majority did not answer in time
	79,    // UnknownReplWriteConcern, while a set is being reconfigured
	100,   // UnsatisfiableWriteConcern: too few members up
	112,   // WriteConflict
	133,   // FailedToSatisfyReadPreference
	134,   // ReadConcernMajorityNotAvailableYet
	175,   // QueryPlanKilled
	202,   // NetworkInterfaceExceededTimeLimit
	237,   // CursorKilled
	11601, // Interrupted
	14031, // OutOfDiskSpace: an operator can make room
	46841, // ClientMarkedKilled
}

// hints tell an operator what to do about a refusal.
var hints = map[int]string{
	13:    "give the user of MONGODB_URL the role readWrite on the database",
	18:    "look at user, password and authSource in MONGODB_URL",
	8000:  "look at user, password and authSource in MONGODB_URL",
	85:    "an index of that name is there with other options; drop it and start again",
	86:    "an index of that name is there with other keys; drop it and start again",
	121:   "take the validation rules off the collection; only this program writes to it",
	14031: "make room on the database's disk",
	73:    "choose another MONGODB_DB",
	263:   "the collections of this program cannot be time series or capped",
}

// temporary reports whether trying again may help. An error that does not come from
// a server's answer is a connection failure: no server found, a connection that
// broke, an answer that did not come in time.
func temporary(err error) bool {
	var (
		marshal  driver.MarshalError
		argument driver.InvalidArgumentError
	)
	if isOwn(err) || errors.Is(err, context.Canceled) || errors.Is(err, driver.ErrClientDisconnected) ||
		errors.As(err, &marshal) || errors.As(err, &argument) {
		return false
	}
	var labelled driver.LabeledError
	if driver.IsNetworkError(err) || driver.IsTimeout(err) ||
		errors.As(err, &labelled) && (labelled.HasErrorLabel("RetryableWriteError") ||
			// Also without a transaction: a pool that was cleared, since another operation lost its connection.
			labelled.HasErrorLabel("TransientTransactionError")) {
		return true
	}
	codes := driver.ErrorCodes(err)
	for _, code := range codes {
		if slices.Contains(temporaryCodes, code) {
			return true
		}
	}
	var answer driver.ServerError
	return len(codes) == 0 && !errors.As(err, &answer)
}

// explain is an error as the caller gets it: what was done, which of the package's
// sentinels it is, and what an operator can do.
func explain(what string, err error) error {
	switch {
	case isOwn(err):
		return err
	case temporary(err):
		return fmt.Errorf("%w: %s: %w%s", projection.ErrUnavailable, what, err,
			hintOf(err, "is MongoDB running, has its set a primary, and can it be reached from here? One that is slow gets more time with MONGO_SST_MS and MONGO_CONNECT_MS"))
	}
	return fmt.Errorf("%w: %s: %w%s", projection.ErrRefused, what, err, hintOf(err, ""))
}

// isOwn reports whether the error is one that was made here, or a context's.
func isOwn(err error) bool {
	for _, own := range []error{
		projection.ErrFenced, projection.ErrCorrupt, projection.ErrClosed, projection.ErrBatch, projection.ErrForeign,
		projection.ErrMetaFixed, projection.ErrNotFound, projection.ErrRefused, projection.ErrUnavailable, projection.ErrOutdated,
	} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}

func hintOf(err error, otherwise string) string {
	for _, code := range driver.ErrorCodes(err) {
		if hint, ok := hints[code]; ok {
			return " (hint: " + hint + ")"
		}
	}
	if otherwise == "" {
		return ""
	}
	return " (hint: " + otherwise + ")"
}

// corrupt says that a stored document cannot be read.
func corrupt(collection string, id any, err error) error {
	return fmt.Errorf("%w: document %v of %s: %w; restore the database from a backup, or drop it and let it be made again from the log",
		projection.ErrCorrupt, id, collection, err)
}
