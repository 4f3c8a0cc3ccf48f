//go:build unix && !linux

package child

import "syscall"

// OwnGroup keeps Ctrl-C for the bench alone, which then stops the server in order.
func OwnGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
