package projection_test

import "testing"

// What is owed stands in the bucket, and readers of snapshots see nothing of it.
func TestOwed(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	s := openSnapshots(t, b.connect(), true)
	publish(t, s, 3, entries(2, "x"), 7)
	look := func(want bool) {
		t.Helper()
		again := openSnapshots(t, b.connect(), true)
		if got, err := again.Owed(within(t), 3); err != nil || got != want {
			t.Errorf("owed %v, %v, want %v", got, err, want)
		}
		if got, err := again.Owed(within(t), 2); err != nil || got {
			t.Errorf("another partition: %v, %v", got, err)
		}
		v := watch(t, again)
		if err := v.Wait(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := v.WaitPosition(within(t), 3, 7); err != nil {
			t.Error(err)
		}
		if v.Len() != 2 || v.Position(3) != 7 {
			t.Errorf("%d snapshots at position %d", v.Len(), v.Position(3))
		}
	}
	look(false)
	for _, owed := range []bool{true, false} {
		if err := s.SetOwed(within(t), 3, owed); err != nil {
			t.Fatal(err)
		}
		look(owed)
	}
}
