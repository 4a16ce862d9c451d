package agent

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// Who went without a goodbye is told for hours, also once Consul has forgotten it, until
// it is back; who stopped in order is not.
func TestGone(t *testing.T) {
	var g gone
	now := time.Unix(1700000000, 0)
	want := func(when string, names ...string) {
		t.Helper()
		var got []string
		for _, a := range g.list(now) {
			got = append(got, a.Name)
		}
		if diff := cmp.Diff(names, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	one, two, dead := listed("one", "a", true), listed("two", "a", true), listed("two", "a", false)
	g.note([]consul.Instance{one, two, listed("three", "a", true)}, now)
	want("all are there")
	g.note([]consul.Instance{one, dead}, now)
	want("two was killed, three stopped in order", "two")
	now = now.Add(10 * time.Minute)
	g.note([]consul.Instance{one}, now)
	want("Consul has forgotten it", "two")
	now = now.Add(goneFor - 11*time.Minute)
	want("hours later", "two")
	now = now.Add(2 * time.Minute)
	want("for good")

	g.note([]consul.Instance{one, dead}, now)
	want("again", "two")
	g.note([]consul.Instance{one, two}, now)
	want("it is back")

	var many []consul.Instance
	for i := range 2 * maxGone {
		many = append(many, listed(fmt.Sprintf("a%03d", i), "a", false))
	}
	g.note(many, now)
	if n := len(g.list(now)); n != maxGone {
		t.Errorf("%d are remembered, want %d", n, maxGone)
	}
}

// What several agents remember is told once, and not of who answers.
func TestAgentsGone(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	one, two := wadi.AgentReport{Name: "one"}, wadi.AgentReport{Name: "two"}
	one.Gone = []wadi.GoneAgent{{Name: "three", Since: now.Add(-time.Minute)}, {Name: "two", Since: now}}
	two.Gone = []wadi.GoneAgent{{Name: "three", Since: now.Add(-time.Hour)}}
	got := agentsGone([]wadi.AgentReport{one, two}, now)
	if len(got) != 1 || got[0].Level != wadi.LevelWarn || got[0].About != "agent three" || !strings.Contains(got[0].What, "gone since 2030-01-01 11:00 UTC (1h0m0s ago)") {
		t.Errorf("got %+v", got)
	}
}

// An agent that hangs costs the doctor a few seconds.
func TestAskReport_OfOneThatHangs(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // It takes connections, as the kernel does for a paused process.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, err = askReport(t.Context(), l.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "does not answer within 4s") {
		t.Errorf("got %v", err)
	}
}
