package inuse

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitSaysWhatIsOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c Count
		if err := c.Wait(time.Minute); err != nil {
			t.Errorf("nothing is open: %v", err)
		}
		call, first, second := c.Call(), c.View(), c.View()
		began := time.Now()
		err := c.Wait(time.Minute)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("waited for %v, want a minute", took)
		}
		open := (*OpenError)(nil)
		if !errors.As(err, &open) || open.Open != (Open{Calls: 1, Views: 2}) {
			t.Errorf("%v, want a call and two views", err)
		}
		if want := "still in use after 1m0s: calls under way: 1, views open: 2"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
		first()
		call()
		second()
		if err := c.Wait(0); err != nil {
			t.Errorf("all was left: %v", err)
		}
	})
}

func TestWaitEndsWithTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c Count
		call, view := c.Call(), c.View()
		time.AfterFunc(time.Second, call)
		time.AfterFunc(3*time.Second, view)
		waits := make(chan error, 2)
		began := time.Now()
		for range 2 { // both are woken
			go func() { waits <- c.Wait(time.Minute) }()
		}
		for range 2 {
			if err := <-waits; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("waited for %v, want 3s", took)
		}
	})
}
