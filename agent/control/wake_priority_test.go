package control_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// A raise waits for wakes that are due or under way, but not for ever: requests wait for
// its instances too.
func TestAutoscaler_WakesGoFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		wakes  time.Duration // How long wakes go on; 0: there are none.
		raised time.Duration // When the count is raised.
	}{
		"no wakes":           {0, 0},
		"wakes":              {700 * time.Millisecond, 700 * time.Millisecond},
		"wakes without end":  {time.Hour, 2 * time.Second},
		"one wake for a bit": {time.Millisecond, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				var over chan struct{}
				c.waking = func() <-chan struct{} { c.mu.Lock(); defer c.mu.Unlock(); return over }
				_, stop := lead(t, c)
				defer stop()
				id := c.submit("hello")
				c.setLoad(id, 5)
				time.Sleep(5*time.Second + 100*time.Millisecond) // Between the turns of the autoscaler.
				wantCount(t, c, id, 1)
				if tt.wakes > 0 {
					c.mu.Lock()
					over = make(chan struct{})
					c.mu.Unlock()
					time.AfterFunc(tt.wakes, func() { c.mu.Lock(); close(over); over = nil; c.mu.Unlock() })
				}
				began := time.Now()
				c.setLoad(id, 35)
				c.backlog.Add(id)
				for c.count(id) != 4 && time.Since(began) < time.Minute {
					time.Sleep(time.Millisecond)
				}
				if took := time.Since(began); took < tt.raised || took > tt.raised+100*time.Millisecond {
					t.Errorf("raised after %v, want %v", took, tt.raised)
				}
			})
		})
	}
}
