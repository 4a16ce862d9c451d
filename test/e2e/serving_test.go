//go:build e2e

package e2e_test

import (
	"strings"
	"testing"
)

// A service that has no instance answers its first request: that starts one.
func TestServing_ColdRequest(t *testing.T) {
	t.Parallel()
	deploy(t, hello("cold", options{}))
	toZero(t, "cold-00001")

	res := get(t, "cold", "/")
	wantStatus(t, res, 200)
	if want := "hello from cold-00001 "; !strings.HasPrefix(res.Body, want) {
		t.Errorf("got body %q, want it to begin with %q", res.Body, want)
	}
	if n, err := stack.Count(t.Context(), "cold-00001"); err != nil || n != 1 {
		t.Errorf("got count %d (%v) after one request, want 1", n, err)
	}
}
