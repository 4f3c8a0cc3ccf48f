//go:build unix && !linux

package child

import (
	"os"
	"syscall"
)

// OwnGroup keeps Ctrl-C for the bench alone, which then stops the server in order.
func OwnGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// PeakMemory is 0: units differ between systems.
func PeakMemory(*os.ProcessState) int { return 0 }
