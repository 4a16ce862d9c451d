package agent_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// An agent has many services that rest, and must not spend its time on them.
func TestLeader_LooksSeldomAtWhatRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		_, stop := lead(t, c)
		defer stop()
		id := c.submit("hello")
		time.Sleep(2 * time.Minute) // Long enough to go to zero.
		wantCount(t, c, id, 0)
		looks := func() int {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.looks
		}
		before := looks()
		time.Sleep(5 * time.Minute)
		if n := looks() - before; n > 40 {
			t.Errorf("looked %d times in five minutes at a service at zero", n)
		}
		before = looks()
		c.notify("hello")
		if looks() == before {
			t.Error("did not look at a service that was submitted again")
		}
	})
}
