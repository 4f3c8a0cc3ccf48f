package main

import "syscall"

// ownGroup keeps Ctrl-C for the bench alone, which then stops the server in
// order; a server whose bench is killed ends as well.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
