//go:build !unix

package app

// keepFilesPrivate does nothing: files have no mode here, and inherit the permissions of
// their directory.
func keepFilesPrivate() {}
