package main

import "syscall"

// endWithParent ends a process where the tests are ended without their clean-up.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
