//go:build unix && !linux

package main

import "syscall"

// ownGroup keeps Ctrl-C for the bench alone, which then stops the server in order.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
