package table_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/table"
)

// gateway carries everything once it has followed.
type gateway struct {
	mu   sync.Mutex
	ok   bool
	why  string
	asks int
}

func (g *gateway) Serves(wadi.Route) (bool, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asks++
	return g.ok, g.why
}

func (g *gateway) set(ok bool, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ok, g.why = ok, why
}

var hello = wadi.Route{Service: "hello"}

func TestApply_WaitsForTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{why: "not yet"}
		l := &table.Layer{Gateway: g}
		start := time.Now()
		time.AfterFunc(30*time.Millisecond, func() { g.set(true, "") })
		if err := l.Apply(t.Context(), hello); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 30*time.Millisecond || took > 40*time.Millisecond {
			t.Errorf("waited %v, want 30ms", took)
		}
		if err := l.Apply(t.Context(), hello); err != nil || time.Since(start) > 40*time.Millisecond {
			t.Errorf("waited again (%v)", err)
		}
	})
}

func TestApply_DoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &table.Layer{Gateway: &gateway{why: "not yet"}}
		start := time.Now()
		err := l.Apply(t.Context(), hello)
		if want := "wait for the gateway to follow the route of hello: not yet"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("waited %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		l = &table.Layer{Gateway: &gateway{why: "not yet"}}
		if err := l.Apply(ctx, hello); err == nil || time.Since(start) != time.Second {
			t.Errorf("waited although nobody does for it (%v)", err)
		}
	})
}

// A thousand services that are submitted at once do not wait one after the other.
func TestApply_WaitsLittleForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{why: "not yet"}
		l := &table.Layer{Gateway: g, Patience: 100 * time.Millisecond}
		apply := func() (waited time.Duration) {
			start := time.Now()
			for range 1000 {
				_ = l.Apply(t.Context(), hello) // Late as the gateway is.
			}
			return time.Since(start)
		}
		if took := apply(); took != time.Second {
			t.Errorf("waited %v for a thousand routes, want 1s", took)
		}
		time.Sleep(5 * time.Second)
		if took := apply(); took != time.Second {
			t.Errorf("waited %v later, want 1s again", took)
		}
	})
}

func TestProgrammed(t *testing.T) {
	g := &gateway{}
	l := &table.Layer{Gateway: g}
	for _, want := range []struct {
		ok  bool
		why string
	}{{false, "not yet"}, {true, ""}, {true, "host shop.test is held by service a"}} {
		g.set(want.ok, want.why)
		if ok, why, err := l.Programmed(t.Context(), hello); ok != want.ok || why != want.why || err != nil {
			t.Errorf("got %v %q %v, want %+v", ok, why, err, want)
		}
	}
	g.set(false, "")
	asks := g.asks
	if err := l.Remove(t.Context(), "hello"); err != nil || g.asks != asks {
		t.Errorf("removing from a table that follows by itself did something (%v)", err)
	}
}
