package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// A revision that was never ready fails as soon as Nomad has given up three of its
// instances for the same reason, and not before.
func TestPlan_GivesUpUnrecoverable(t *testing.T) {
	for _, tt := range []struct {
		name    string
		givenUp []string
		ready   int
		want    wadi.Phase
	}{
		{"one", []string{"no such program"}, 0, wadi.Pending},
		{"two", []string{"no such program", "no such program"}, 0, wadi.Pending},
		{"three", []string{"no such program", "no such program", "no such program"}, 0, wadi.Failed},
		{"three that differ in a number", []string{"port 20001", "port 20002", "port 31000"}, 0, wadi.Failed},
		{"three that differ", []string{"no such program", "no such program", "no such driver"}, 0, wadi.Pending},
		{"the last three are the same", []string{"no such driver", "x", "x", "x"}, 0, wadi.Failed},
		{"another is ready", []string{"x", "x", "x"}, 1, wadi.Pending},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(1)
			w.d.Service.Scale.Initial = 2
			w.settle(t)
			w.o.Now = w.o.Now.Add(10 * time.Second)
			w.o.Instances[r1] = scheduler.Instances{Ready: tt.ready, Alive: tt.ready, GivenUp: tt.givenUp}
			w.settle(t)
			got := w.d.State.Revisions[r1]
			if got.Phase != tt.want || got.Phase == wadi.Failed && !strings.Contains(got.Reason, tt.givenUp[len(tt.givenUp)-1]) {
				t.Errorf("got %+v, want %s", got, tt.want)
			}
		})
	}
}
