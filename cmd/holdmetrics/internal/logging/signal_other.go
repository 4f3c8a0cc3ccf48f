//go:build !unix

package logging

// FollowSignal does nothing: there is no such signal here.
func (l *Level) FollowSignal() (stop func()) { return func() {} }
