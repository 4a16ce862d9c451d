package nomad

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

func TestTrouble_Lingers(t *testing.T) {
	began := time.Unix(1000, 0)
	var r revision
	ill := func() { r.instances = map[string]instance{"a": {endpoint: wadi.Endpoint{Problem: "Exit Code: 1"}}} }
	well := func() { r.instances = map[string]instance{"a": {healthy: true}} }
	blocks := func() { r.blocked.reason = "no node fits" }
	fits := func() { r.blocked.reason = "" }
	told := func(after time.Duration, wantReason string, wantSince time.Duration) {
		t.Helper()
		r.setTrouble(JobState{Count: 1}, began.Add(after))
		reason, since := r.trouble.at(began.Add(after))
		want := began.Add(wantSince)
		if wantReason == "" {
			want = time.Time{}
		}
		if reason != wantReason || !since.Equal(want) {
			t.Errorf("after %v: got %q since %v, want %q since %v", after, reason, since.Sub(began), wantReason, wantSince)
		}
	}
	ill()
	told(0, "Exit Code: 1", 0)
	well()
	told(2*time.Second, "Exit Code: 1", 0) // It runs, and may exit again.
	told(8*time.Second, "", 0)
	ill()
	told(20*time.Second, "Exit Code: 1", 0) // It has.
	well()
	told(21*time.Second, "Exit Code: 1", 0)
	ill()
	told(60*time.Second, "Exit Code: 1", 60*time.Second) // That is another story.
	blocks()
	told(61*time.Second, "no node fits", 61*time.Second)
	fits()
	well()
	told(62*time.Second, "", 0)
}
