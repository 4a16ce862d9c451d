//go:build e2e

package dataplane_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestCold: a request that wakes a service learns where the time went. A request for a
// service that Nomad can't start gets the reason in the form that it accepts, and when to
// retry.
func TestCold(t *testing.T) {
	t.Parallel()
	t.Run("woken", func(t *testing.T) {
		t.Parallel()
		stack.Deploy(t, service("wakes", options{scale: atZero(1)}))
		res := stack.Get(t, "wakes", "/uri")
		harnesstest.WantStatus(t, res, 200)
		var names []string
		for part := range strings.SplitSeq(res.Header.Get("Server-Timing"), ", ") {
			name, dur, ok := strings.Cut(part, ";dur=")
			if _, err := strconv.ParseFloat(dur, 64); !ok || err != nil {
				t.Errorf("got Server-Timing %q", res.Header.Get("Server-Timing"))
			}
			names = append(names, name)
		}
		if got, want := strings.Join(names, " "), "queue place start probe forward"; got != want {
			t.Errorf("got phases %s, want %s", got, want)
		}
		if res := stack.Get(t, "wakes", "/uri"); res.Header.Get("Server-Timing") != "" {
			t.Errorf("a warm request has phases: %v", res.Header)
		}
	})
	t.Run("missing", func(t *testing.T) {
		t.Parallel()
		const program = "no-such-program"
		// From outside, the kind of the reason and where to find it.
		said := func(text string) bool {
			return regexp.MustCompile("does not start.* under [0-9a-f]{8}").MatchString(text) && !strings.Contains(text, program)
		}
		stack.Submit(t, service("missing", options{command: program, scale: atZero(1), queue: `timeout = "40s"`}))
		res := asked(t, "missing", "application/json")
		var body struct{ Error, Code string }
		if err := json.Unmarshal([]byte(res.Body), &body); err != nil || !said(body.Error) || body.Code != res.Header.Get("Wadi-Error") {
			t.Errorf("got %q, %v, want JSON that says where the reason is", res.Body, err)
		}
		if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || n <= 0 {
			t.Errorf("got Retry-After %q", res.Header.Get("Retry-After"))
		}
		if res := asked(t, "missing", "*/*"); !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") || !said(res.Body) {
			t.Errorf("got %v %q, want text that says where the reason is", res.Header, res.Body)
		}
	})
}

// asked waits for the refusal of a service that can't start.
func asked(t *testing.T, name, accept string) (res harness.Response) {
	t.Helper()
	c := stack.Client(t)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, harnesstest.URL(name, "/"), nil)
		must(t, "make request", err)
		req.Header.Set("Accept", accept)
		if res, err = harness.Do(c, req); err == nil && res.Status == http.StatusNotFound {
			err = errors.New("it is not known yet")
		}
		return err
	})
	harnesstest.WantStatus(t, res, 503)
	return res
}
