package control_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
)

func TestLeader_CountSetByHandStandsForAWhile(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		id := c.submit("hello")
		time.Sleep(time.Second)
		if err := c.edit("hello", func(s *wadi.Stored) { s.Service.Scale.ManualHold = wadi.Duration(time.Minute) }); err != nil {
			t.Fatal(err)
		}
		c.notify("hello")
		c.setLoad(id, 5)
		time.Sleep(5 * time.Second)
		c.mu.Lock()
		c.byHandAt = time.Now()
		c.set(id, c.jobs[id].body, 3)
		c.mu.Unlock()
		time.Sleep(55 * time.Second)
		wantCount(t, c, id, 3)
		time.Sleep(30 * time.Second)
		wantCount(t, c, id, 1)
	})
}

// A revision whose queue grows is evaluated at once, and not when the others are.
func TestAutoscaler_BacklogIsEvaluatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		_, stop := lead(t, c)
		defer stop()
		id := c.submit("hello")
		c.setLoad(id, 5)
		time.Sleep(5*time.Second + 100*time.Millisecond)
		c.setLoad(id, 35)
		for _, id := range []string{id, "gone-00001", "hello-00009"} {
			c.backlog.Add(id)
		}
		time.Sleep(time.Millisecond)
		wantCount(t, c, id, 4)
		c.setLoad(id, 75) // What it holds is measured a little later.
		time.Sleep(600 * time.Millisecond)
		wantCount(t, c, id, 8)
	})
}

// What a next leader has to know is stored soon after it is decided.
func TestLeader_PanicIsStoredSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		_, stop := lead(t, c)
		defer stop()
		id := c.submit("hello")
		c.setLoad(id, 5)
		time.Sleep(time.Second)
		c.change1(t, func(s *wadi.Stored) { s.Service.Scale.Max = 1 }) // Nothing else causes a pass.
		time.Sleep(10*time.Second + 300*time.Millisecond)              // Between the turns of controller and autoscaler.
		c.setLoad(id, 95)
		c.backlog.Add(id)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		d := c.service("hello").State.Revisions[id].Deciders[wadi.Concurrency]
		if d.PanicSince.IsZero() || d.HighestInPanic != 10 {
			t.Errorf("stored is %+v, want the panic and its 10 instances", d)
		}
	})
}

// Before a count is lowered, every source is read once more: load that an open poll has
// not reported keeps the instances.
func TestAutoscaler_LowersOnlyWhatIsConfirmed(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, _ *leader) {
		id := c.submit("hello")
		c.setLoad(id, 35)
		time.Sleep(5 * time.Second)
		wantCount(t, c, id, 4)
		c.mu.Lock()
		c.unreported = map[string]float64{id: 35}
		c.load[id] = 0
		c.mu.Unlock()
		time.Sleep(time.Minute)
		wantCount(t, c, id, 4)
	})
}
