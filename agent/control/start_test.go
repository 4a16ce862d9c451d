package control_test

import (
	"context"
	"testing"
	"time"
)

// wake raises a revision from zero as an activator does, and its caller has gone
// before it is ready.
func (c *cluster) wake(t *testing.T, id string) {
	t.Helper()
	c.mu.Lock()
	c.quiet[id] = time.Now()
	index := c.jobs[id].Index
	c.mu.Unlock()
	if _, err := c.Scale(context.Background(), "default", id, 1, index, "woken"); err != nil {
		t.Fatal(err)
	}
}

// asleep has a service at zero, of which an instance takes longer to start than the
// idle time before zero, ten seconds.
func asleep(t *testing.T, test func(t *testing.T, c *cluster, id string, again func() *leader)) {
	led(t, func(t *testing.T, c *cluster, id string, again func() *leader) {
		c.setLoad(id, 0)
		time.Sleep(time.Minute)
		wantCount(t, c, id, 0)
		c.mu.Lock()
		c.slow = 30 * time.Second
		c.mu.Unlock()
		test(t, c, id, again)
	})
}

// Zero counts from when the instance is ready: the next caller finds it.
func TestLeader_WaitsForAStart(t *testing.T) {
	asleep(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
		c.wake(t, id)
		time.Sleep(39 * time.Second) // Ready for nine.
		wantCount(t, c, id, 1)
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 0)
	})
}

// A new leader does not know since when it starts, or is ready: it waits as if that
// had just begun.
func TestLeader_WaitsForAStartOfAnEarlierTerm(t *testing.T) {
	asleep(t, func(t *testing.T, c *cluster, id string, again func() *leader) {
		c.wake(t, id)
		time.Sleep(20 * time.Second)
		again()
		time.Sleep(15 * time.Second)
		again()
		time.Sleep(9 * time.Second)
		wantCount(t, c, id, 1)
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 0)
	})
}

// A start that never ends is given up, one that has failed sooner.
func TestLeader_GivesAStartUp(t *testing.T) {
	asleep(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
		c.mu.Lock()
		c.slow = time.Hour
		c.mu.Unlock()
		c.wake(t, id)
		time.Sleep(59 * time.Second) // timeout.progress is a minute.
		wantCount(t, c, id, 1)
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 0)

		c.wake(t, id)
		time.Sleep(5 * time.Second)
		c.mu.Lock()
		c.cantRun[id], c.jobs[id].allocs = "Exit Code: 4", nil
		c.change()
		c.mu.Unlock()
		time.Sleep(15 * time.Second)
		wantCount(t, c, id, 0)
	})
}

// At an override of zero an instance that a request woke is waited for too.
func TestLeader_WaitsForAStartAtAHeldZero(t *testing.T) {
	asleep(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
		c.override(t, "", 0, time.Hour)
		c.wake(t, id)
		time.Sleep(29 * time.Second)
		wantCount(t, c, id, 1)
		time.Sleep(10 * time.Second)
		wantCount(t, c, id, 0)
	})
}
