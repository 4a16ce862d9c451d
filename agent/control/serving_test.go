package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

func (c *cluster) cant(id, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cantRun[id] = why; why == "" {
		delete(c.cantRun, id)
	}
	c.change()
}

// A revision that was ready once and can't be started now is a condition that does
// not hold, also at zero and for the next leader, until a start succeeds.
func TestLeader_Serving(t *testing.T) {
	asleep(t, func(t *testing.T, c *cluster, id string, again func() *leader) {
		serving := func(when string, ok bool, text string) {
			t.Helper()
			time.Sleep(5 * time.Second)
			got := condition(c.service("hello").Status, control.ConditionServing)
			if got.OK != ok || !strings.Contains(got.Message, text) {
				t.Errorf("%s: got %+v, want %v with %q", when, got, ok, text)
			}
		}
		c.mu.Lock()
		c.slow = 0
		c.mu.Unlock()
		serving("at zero", true, "")
		c.wake(t, id)
		serving("up", true, "")
		time.Sleep(time.Minute)
		wantCount(t, c, id, 0)

		c.cant(id, "Exit Code: 4")
		c.wake(t, id)
		serving("it can't start", false, "none of its instances is ready: Exit Code: 4")
		time.Sleep(90 * time.Second)
		wantCount(t, c, id, 0)
		serving("at zero after a start that failed", false, "hello-00001 is at zero, and its last start failed: Exit Code: 4; the next request tries again")
		l := again()
		serving("for the next leader", false, "its last start failed")
		c.cant(id, "")
		serving("mended, and nobody has asked", false, "its last start failed")
		c.wake(t, id)
		serving("it starts again", true, "")
		time.Sleep(time.Minute)
		serving("at zero again", true, "")
		var told []string
		for _, e := range l.events.Of("hello", time.Time{}) {
			told = append(told, e.Type)
		}
		if text := strings.Join(told, " "); !strings.Contains(text, "Recovered") {
			t.Errorf("got events %s, want that it recovered", text)
		}
	})
}

// Only time in which a leader sees the instances of a revision counts for its start.
func TestLeader_UnseenTimeIsNoProgress(t *testing.T) {
	for _, tt := range []struct {
		name string
		hide func(t *testing.T, c *cluster, again func() *leader)
	}{
		{"nomad is away", func(_ *testing.T, c *cluster, _ func() *leader) {
			c.mu.Lock()
			c.disconnected = true
			c.mu.Unlock()
			time.Sleep(5 * time.Minute)
			c.mu.Lock()
			c.disconnected = false
			c.change()
			c.mu.Unlock()
		}},
		{"nobody was asked", func(_ *testing.T, c *cluster, _ func() *leader) {
			c.mu.Lock()
			c.readyUnknown = true
			c.mu.Unlock()
			time.Sleep(5 * time.Minute)
			c.mu.Lock()
			c.readyUnknown = false
			c.change()
			c.mu.Unlock()
		}},
		{"another leads", func(_ *testing.T, _ *cluster, again func() *leader) {
			time.Sleep(5 * time.Second)
			again()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			led(t, func(t *testing.T, c *cluster, _ string, again func() *leader) {
				c.cant("hello-00002", "no database")
				two := c.submit("hello")
				time.Sleep(50 * time.Second) // timeout.progress is a minute.
				tt.hide(t, c, again)
				time.Sleep(5 * time.Second)
				if got := c.service("hello").State.Revisions[two]; got.Phase != wadi.Pending {
					t.Fatalf("it is %+v, though nobody saw it", got)
				}
				time.Sleep(time.Minute)
				if got := c.service("hello").State.Revisions[two]; got.Phase != wadi.Failed {
					t.Fatalf("it is %+v, though it was seen for long enough", got)
				}
			})
		})
	}
}
