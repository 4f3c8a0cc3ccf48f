//go:build !linux

package crash

import "syscall"

func endWithParent() *syscall.SysProcAttr { return nil }
