//go:build unix

package app

import "syscall"

// keepFilesPrivate has this process, from now on, make files and directories that only
// its own user can open, those of the broker and the store among them.
func keepFilesPrivate() { syscall.Umask(0o077) }
