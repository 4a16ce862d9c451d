package control_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

// Nomad guards neither stopping nor purging a job. One that is not what the leader
// knows any more, as another leader has put it back, is left alone.
func TestLeader_StopsAndPurgesOnlyWhatItKnows(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, l *leader) {
		id := c.submit("hello")
		time.Sleep(3 * time.Second)
		behind := func(is bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.behind = is
		}
		job := func() (exists, stopped bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.jobs[id] == nil {
				return false, false
			}
			return true, c.jobs[id].Stopped
		}
		c.mu.Lock()
		c.ends = 10 * time.Second
		c.mu.Unlock()
		behind(true)
		if err := c.edit("hello", func(s *wadi.Stored) { s.Deleting = true }); err != nil {
			t.Fatal(err)
		}
		c.notify("hello")
		time.Sleep(5 * time.Second)
		if _, stopped := job(); stopped {
			t.Error("it stopped a job that was changed since")
		}
		behind(false)
		time.Sleep(5 * time.Second)
		if _, stopped := job(); !stopped {
			t.Error("it does not stop the job that it knows")
		}
		behind(true)
		time.Sleep(20 * time.Second)
		if exists, _ := job(); !exists {
			t.Error("it purged a job that was changed since")
		}
		behind(false)
		time.Sleep(5 * time.Second)
		if exists, _ := job(); exists {
			t.Error("it does not purge the job that it knows")
		}
	})
}
