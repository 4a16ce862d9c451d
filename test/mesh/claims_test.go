//go:build e2e

package mesh_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

// Wadi's internal headers have no effect when a caller sends them, to a warm and to a
// woken instance: they select no revision, and the app sees none of them.
func TestClaims_OfTheCaller(t *testing.T) {
	t.Parallel()
	deploy(t, hello("claims", options{})+hello("victim", options{}))
	for _, state := range []string{"cold", "warm"} {
		if state == "warm" {
			waitDirect(t, callerA, "claims")
		}
		header := http.Header{}
		for _, h := range wadi.InternalHeaders() {
			header.Set(h, "victim-00001")
		}
		res, err := callerA.Send(t, http.MethodGet, "claims", "/?headers=1", header, nil)
		must(t, state+": call with claims", err)
		wantFrom(t, res, "claims-00001")
		if strings.Contains(res.Body, "\r\nWadi-") {
			t.Errorf("%s: the app saw internal headers:\n%s", state, res.Body)
		}
	}
	if n, err := stack.Count(t.Context(), "victim-00001"); n != 0 || err != nil {
		t.Errorf("got count %d of the victim (%v), want 0", n, err)
	}
}
