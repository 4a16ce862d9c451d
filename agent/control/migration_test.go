package control_test

import (
	"testing"
	"time"
)

// Nomad starts the instance in a moved one's place when that has ended, so the leader adds
// one before; and takes it back when the one in the old one's place is ready.
func TestMigration_OneMoreFirst(t *testing.T) {
	leaving(t, func(t *testing.T, c *cluster, _ *obedient, id string, _ func() *leader) {
		c.override(t, "", 1, time.Hour)
		time.Sleep(10 * time.Second)
		wantCount(t, c, id, 1)
		c.mu.Lock()
		c.draining = map[string]bool{"node-of-alloc-1": true}
		c.mu.Unlock()
		time.Sleep(3 * time.Second)
		wantCount(t, c, id, 2)
		time.Sleep(time.Minute)
		wantCount(t, c, id, 2) // One more, and not one more at every pass.

		c.mu.Lock() // Nomad has moved it: the new one has the old one's name, and starts.
		c.jobs[id].allocs[0] = alloc{id: "alloc-9", placed: time.Now()}
		c.unready = map[string]bool{"alloc-9": true}
		c.change()
		c.mu.Unlock()
		time.Sleep(30 * time.Second)
		wantCount(t, c, id, 2)
		c.mu.Lock()
		c.unready = nil
		c.mu.Unlock()
		time.Sleep(30 * time.Second)
		wantCount(t, c, id, 1)
	})
}

// Where no node has a place for one more the drain does not wait for it.
func TestMigration_NoPlace(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, _ func() *leader) {
		c.mu.Lock()
		c.draining = map[string]bool{"node-of-alloc-1": true}
		c.mu.Unlock()
		time.Sleep(3 * time.Second)
		wantCount(t, c, id, 2)
		c.mu.Lock()
		c.cantRun[id] = "no node fits: 1 node of 1 filtered, 0 exhausted"
		c.mu.Unlock()
		time.Sleep(30 * time.Second)
		c.mu.Lock()
		delete(c.cantRun, id)
		c.mu.Unlock()
		time.Sleep(30 * time.Second)
		wantCount(t, c, id, 1)
	})
}
