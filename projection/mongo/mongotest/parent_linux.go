package mongotest

import "syscall"

// endWithParent ends the server where the tests are ended without their clean-up.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
