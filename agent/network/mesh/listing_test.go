package mesh_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network/mesh"
)

// Many services that are read back together cost as many calls as one; what this
// layer writes is seen at once, and what others do a little later.
func TestProgrammed_TogetherInFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newRegistry()
		l := &mesh.Layer{Entries: c}
		var routes []wadi.Route
		for i := range 10 {
			r := one(1)
			r.Service = fmt.Sprintf("s%d", i)
			routes = append(routes, r)
			if err := l.Apply(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		programmed := func(want bool) {
			t.Helper()
			for _, r := range routes {
				if ok, why, err := l.Programmed(t.Context(), r); ok != want || err != nil {
					t.Fatalf("%s programmed: %v (%s, %v), want %v", r.Service, ok, why, err, want)
				}
			}
		}
		programmed(true)
		if c.lists != 5 {
			t.Errorf("10 services were read in %d lists, want one of each of 5 kinds", c.lists)
		}
		for _, r := range routes {
			if err := l.Remove(t.Context(), r.Service); err != nil {
				t.Fatal(err)
			}
		}
		programmed(false)
		for _, r := range routes {
			if err := l.Apply(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		programmed(true)
		if c.lists != 5 {
			t.Errorf("%d lists within a second, want 5", c.lists)
		}

		c.mu.Lock()
		clear(c.entries)
		c.mu.Unlock()
		time.Sleep(time.Second)
		programmed(false)
	})
}
