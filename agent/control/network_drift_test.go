package control_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
)

// edits are edits of one service.
type edits chan struct{}

func (e edits) News() <-chan struct{}  { return e }
func (e edits) Take() ([]string, bool) { return []string{"hello"}, false }

// editLayers edits what the network layers carry of hello.
func (c *cluster) editLayers(e edits) {
	c.mu.Lock()
	c.layers["hello"] = wadi.Route{}
	c.mu.Unlock()
	select {
	case e <- struct{}{}:
	default:
	}
}

// An edit is undone at once, with an event. Repeated edits are undone less and less often,
// and one that comes much later at once again.
func TestLeader_PutsBackWhatIsEdited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := make(edits, 1)
		c.edits = e
		l, stop := lead(t, c)
		defer stop()
		c.submit("hello")
		time.Sleep(100 * time.Second)
		putBack := func() (n int) {
			all, _, _ := l.Events.Since(0)
			for _, ev := range all {
				if ev.Type == "DriftCorrected" {
					n++
				}
			}
			return n
		}
		c.editLayers(e)
		time.Sleep(100 * time.Millisecond)
		if n := putBack(); n != 1 || len(c.layers["hello"].Targets) == 0 {
			t.Errorf("put back %d times within 0.1 s of the first edit: %+v", n, c.layers["hello"])
		}
		if s := c.service("hello"); s.Status.Phase != "ready" {
			t.Errorf("the service is %s then", s.Status.Phase)
		}
		for range 6000 { // Ten minutes.
			c.editLayers(e)
			time.Sleep(100 * time.Millisecond)
		}
		if n := putBack(); n < 15 || n > 30 {
			t.Errorf("put back %d times within 10 minutes of a fight, want about one in 30 s", n)
		}
		time.Sleep(5 * time.Minute)
		before := putBack()
		c.editLayers(e)
		time.Sleep(100 * time.Millisecond)
		c.editLayers(e)
		time.Sleep(3 * time.Second)
		if n := putBack() - before; n != 2 {
			t.Errorf("put back %d times after the fight was over, want both edits", n)
		}
	})
}
