package activator_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// A higher bound lets more requests wait, a lower one turns none away that waits already.
func TestSet_Waiting(t *testing.T) {
	for name, bound := range map[string]func(requests int) activator.Settings{
		"count": func(n int) activator.Settings { return activator.Settings{MaxWaiting: n} },
		"bytes": func(n int) activator.Settings { return activator.Settings{MaxWaitingBytes: int64(n) * 30 << 10} },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, settings(), func(c *activator.Config) { c.Settings = bound(1) })
			b := newBackend(t, "alloc-1")
			answers := make(chan answer, 3)
			ask := func() { answers <- g.get(t) }
			go ask()
			g.waiting(t, 1)
			wantRefusal(t, g.get(t), 503, "queue_full", "in this agent")
			g.act.Set(bound(3))
			go ask()
			g.waiting(t, 2)
			g.act.Set(bound(1))
			wantRefusal(t, g.get(t), 503, "queue_full", "in this agent")
			g.waiting(t, 2)
			g.place(b.ep)
			for range 2 {
				if got := <-answers; got.status != 200 {
					t.Errorf("a request that waited: %v", got)
				}
			}
		})
	}
}

// The rate of wakes changes while they are under way: never more in a second than the bound
// in force, whatever began before.
func TestSet_Wakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := map[string]wadi.Route{}
		for i := range 100 {
			name := fmt.Sprintf("s%02d", i)
			id := wadi.RevisionID(name, 1)
			all[name] = wadi.Route{Service: name, Targets: allOf(id), Revisions: map[string]wadi.RouteRevision{id: minute()}}
		}
		c := newClocked(t, all, 10)
		defer c.end(t)
		for i := range 100 {
			name := fmt.Sprintf("s%02d", i)
			go c.ask(t, name, wadi.RevisionID(name, 1))
		}
		synctest.Wait()
		for _, step := range []struct {
			rate           float64
			now, inASecond int // Wakes so far.
		}{
			{10, 10, 20}, // As it was.
			{30, 40, 70}, // 10 have begun at this moment already.
			{5, 70, 75},
			{40, 100, 100}, // All.
		} {
			c.act.Set(activator.Settings{MaxWakes: step.rate})
			synctest.Wait()
			now := len(c.wakeTimes())
			time.Sleep(time.Second)
			synctest.Wait()
			if later := len(c.wakeTimes()); now != step.now || later != step.inASecond {
				t.Errorf("at %v a second: %d at once, %d a second later; want %d and %d", step.rate, now, later, step.now, step.inASecond)
			}
		}
	})
}

// Requests get a record from the moment that the access log is turned on.
func TestSet_RequestRecords(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	for _, on := range []bool{false, true, false} {
		g.act.Set(activator.Settings{RequestRecords: on})
		var record activator.RequestRecord
		w := httptest.NewRecorder()
		g.act.ServeRevision(w, httptest.NewRequestWithContext(activator.WithRequestRecord(t.Context(), &record), http.MethodGet, "/", nil), "hello", "hello-00001")
		if w.Code != http.StatusOK || (record.Instance == "alloc-1") != on {
			t.Errorf("records %v: %d, %+v", on, w.Code, record)
		}
	}
}
