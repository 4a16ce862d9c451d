//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// tagged sends a request with a tag in the header.
func tagged(t *testing.T, c *http.Client, service, tag string) harness.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, harnesstest.URL(service, "/"), nil)
	harnesstest.Must(t, "make request", err)
	req.Header.Set(wadi.HeaderTag, tag)
	res, err := harness.Do(c, req)
	harnesstest.Must(t, "ask for tag "+tag, err)
	return res
}

func wantRevision(t *testing.T, res harness.Response, revision string) {
	t.Helper()
	harnesstest.WantStatus(t, res, 200)
	if got := res.Header.Get("Hello-Revision"); got != revision {
		t.Fatalf("answered by %s, want %s", got, revision)
	}
}

// Traffic is split between two revisions. A revision without a share is reached by its tag
// only, also at zero. A retired one comes back when the traffic names it.
func TestServing_Traffic(t *testing.T) {
	t.Parallel()
	const one, two = "split-00001", "split-00002"
	o := options{env: map[string]string{"VERSION": "1"}}
	stack.Deploy(t, hello("split", o))
	o.env["VERSION"] = "2"
	apply := func(targets ...string) {
		t.Helper()
		o.service = harnesstest.Traffic(targets...)
		stack.Deploy(t, hello("split", o))
	}
	c := stack.Client(t)

	apply("50 latest", "50 "+one)
	counts := map[string]int{}
	const asked = 400
	for range asked {
		res, err := stack.Agent.Get(t.Context(), "split", "/")
		harnesstest.Must(t, "get", err)
		harnesstest.WantStatus(t, res, 200)
		counts[res.Header.Get("Hello-Revision")]++
	}
	// Six standard deviations around half of them are 60.
	if n := counts[one]; n < asked/2-60 || n > asked/2+60 || n+counts[two] != asked {
		t.Errorf("got %v of %d, want half each", counts, asked)
	}

	apply("100 latest", "0 "+one+" old")
	stack.ToZero(t, one)
	stack.ToZero(t, two)
	wantRevision(t, stack.Get(t, "old-split", "/"), one)
	stack.ToZero(t, one)
	wantRevision(t, tagged(t, c, "split", "old"), one)
	if got, err := stack.Count(t.Context(), two); err != nil || got != 0 {
		t.Errorf("%s has count %d (%v) though only the tag was asked for", two, got, err)
	}
	wantRevision(t, tagged(t, c, "split", "nosuch"), two)
	wantRevision(t, stack.Get(t, "split", "/"), two)
	wantTraffic(t, "split", wadi.TargetStatus{Revision: two, Percent: 100, Wanted: 100},
		wadi.TargetStatus{Revision: one, Tag: "old", URL: strings.Replace(urlOfGateway(t, "split"), "//split.", "//old-split.", 1)})

	apply("100 latest")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if res := stack.Get(t, "old-split", "/"); res.Status != 404 {
			return fmt.Errorf("the removed tag's host answers %d", res.Status)
		}
		return nil
	})
	wantRevision(t, tagged(t, c, "split", "old"), two)
	harnesstest.Must(t, "wait for the old revision to retire",
		stack.WaitCount(t.Context(), one, harnesstest.WaitLong, func(n int) bool { return n == -1 }))

	apply("100 " + one)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		res := stack.Get(t, "split", "/")
		harnesstest.WantStatus(t, res, 200)
		if got := res.Header.Get("Hello-Revision"); got != one {
			return fmt.Errorf("answered by %s", got)
		}
		return nil
	})

	o.service = harnesstest.Traffic("50 latest", "50 split-00009")
	source := hello("split", o)
	line := 1 + strings.Count(source[:strings.Index(source, `"split-00009"`)], "\n")
	_, err := stack.Agent.Submit(t.Context(), source)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("test.hcl:%d,", line)) || !strings.Contains(err.Error(), "there are: latest, "+two+", "+one) {
		t.Errorf("got %v, want it refused at line %d with the revisions that there are", err, line)
	}
}

func urlOfGateway(t *testing.T, service string) string {
	t.Helper()
	s, err := stack.Agent.Client.Service(t.Context(), service)
	harnesstest.Must(t, "read service", err)
	return s.Status.URL
}

func wantTraffic(t *testing.T, service string, want ...wadi.TargetStatus) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		s, err := stack.Agent.Client.Service(t.Context(), service)
		if got := s.Status.Traffic; err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			err = fmt.Errorf("got traffic %+v, want %+v", got, want)
		}
		return err
	})
}
