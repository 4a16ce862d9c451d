package membership

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/internal/consul"
)

// An agent that did not deregister is reported for hours, even once Consul has forgotten it,
// until it is back; one that stopped in order is not reported.
func TestLost(t *testing.T) {
	var l lost
	now := time.Unix(1700000000, 0)
	want := func(when string, names ...string) {
		t.Helper()
		var got []string
		for _, a := range l.list(now) {
			got = append(got, a.Name)
		}
		if diff := cmp.Diff(names, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	one, two, dead := listed("one", "a", true), listed("two", "a", true), listed("two", "a", false)
	l.note([]consul.Instance{one, two, listed("three", "a", true)}, now)
	want("all are there")
	l.note([]consul.Instance{one, dead}, now)
	want("two was killed, three stopped in order", "two")
	now = now.Add(10 * time.Minute)
	l.note([]consul.Instance{one}, now)
	want("Consul has forgotten it", "two")
	now = now.Add(LostFor - 11*time.Minute)
	want("hours later", "two")
	now = now.Add(2 * time.Minute)
	want("for good")

	l.note([]consul.Instance{one, dead}, now)
	want("again", "two")
	l.note([]consul.Instance{one, two}, now)
	want("it is back")

	var many []consul.Instance
	for i := range 2 * maxLost {
		many = append(many, listed(fmt.Sprintf("a%03d", i), "a", false))
	}
	l.note(many, now)
	if n := len(l.list(now)); n != maxLost {
		t.Errorf("%d are remembered, want %d", n, maxLost)
	}
}
