//go:build unix

package app

import "syscall"

// fileLimit returns how many files this process may have open; 0: it is not known.
func fileLimit() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<30))
}

// filesLeft reports whether the process can open some files more than it has open. The
// system gives the smallest number that is free, so one that is far below the limit says
// so; it counts nothing.
func filesLeft(some int) bool {
	limit := fileLimit()
	if limit == 0 {
		return true
	}
	n, err := syscall.Dup(0)
	if err != nil {
		return err == syscall.EBADF // there is no standard input
	}
	_ = syscall.Close(n)
	return n+some < limit
}
