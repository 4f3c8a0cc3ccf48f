package child

import (
	"os"
	"syscall"
)

// OwnGroup keeps Ctrl-C for the bench alone, which then stops the server in
// order; a server whose bench is killed ends as well.
func OwnGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// PeakMemory is the largest resident set that a process which has ended had, in bytes; 0:
// the system does not say.
func PeakMemory(ended *os.ProcessState) int {
	if usage, ok := ended.SysUsage().(*syscall.Rusage); ok {
		return int(usage.Maxrss) << 10
	}
	return 0
}
