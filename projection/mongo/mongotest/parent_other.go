//go:build !linux

package mongotest

import "syscall"

func endWithParent() *syscall.SysProcAttr { return nil }
