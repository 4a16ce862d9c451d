//go:build e2e

package mesh_test

import (
	"net/http"
	"testing"
)

// A tag leads to its revision whatever the traffic is, by its own name and by a header:
// while the revision is at zero, and while it runs.
func TestTags(t *testing.T) {
	t.Parallel()
	deploy(t, hello("tagged", options{env: map[string]string{"N": "1"}}))
	deploy(t, hello("tagged", options{env: map[string]string{"N": "2"}, more: `traffic {
    revision = "tagged-00001"
    percent  = 100
  }
  traffic {
    revision = "tagged-00002"
    tag      = "canary"
  }`}))
	waitKnown(t, callerA, "canary-tagged")
	header := http.Header{"Wadi-Tag": {"canary"}}
	for _, state := range []string{"cold", "warm"} {
		for _, tt := range []struct {
			what, callee string
			header       http.Header
			want         string
		}{
			{"name", "canary-tagged", nil, "tagged-00002"},
			{"header", "tagged", header, "tagged-00002"},
			{"none", "tagged", nil, "tagged-00001"},
		} {
			if state == "cold" {
				toZero(t, tt.want)
			}
			res, err := callerA.Send(t, http.MethodGet, tt.callee, "/", tt.header, nil)
			must(t, state+": call by "+tt.what, err)
			t.Logf("%s by %s: %d after %v", state, tt.what, res.Status, res.Took)
			wantFrom(t, res, tt.want)
		}
	}
}
