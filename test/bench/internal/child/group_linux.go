package child

import "syscall"

// OwnGroup keeps Ctrl-C for the bench alone, which then stops the server in
// order; a server whose bench is killed ends as well.
func OwnGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
