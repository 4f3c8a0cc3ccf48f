//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a process into a group of its own, which is killed with it: the
// processes that tests start end too.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
