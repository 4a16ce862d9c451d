//go:build e2e

package traffic_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// user is a user of a service with a sticky split, who calls it in one way.
type user struct {
	way
	bucket   int
	revision string // That answered last.
}

// call sends the user's request, and fails the test if a user who was on the revision new gets
// another one.
func (u *user) call(t *testing.T, newer string) harness.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harnesstest.WaitLong)
	defer cancel()
	res, err := u.send(ctx)
	harnesstest.Must(t, "call through "+u.name, err)
	harnesstest.WantStatus(t, res, http.StatusOK)
	got := res.Header.Get("Hello-Revision")
	if u.revision == newer && got != newer {
		t.Errorf("through %s, the user of bucket %d goes from %s back to %s", u.name, u.bucket, newer, got)
	}
	u.revision = got
	return res
}

// While the share of the newer revision grows, users move to it once and never back, each when
// the share reaches its bucket: by a cookie of the gateway, and by a header at the gateway and
// through Envoy.
func TestSticky_UsersMoveOnce(t *testing.T) {
	t.Parallel()
	const name, one, two = "kept", "kept-00001", "kept-00002"
	const sticky = "sticky {\n    cookie = \"who\"\n    header = \"X-User-ID\"\n  }\n  "
	kept := func(v string, targets ...string) string {
		return versionWith(name, map[string]string{"VERSION": v}, `window = "1h"`, sticky+harnesstest.Traffic(targets...))
	}
	deploy(t, kept("1"))
	stack.Deploy(t, kept("2", "99 "+one, "1 "+two))

	// Envoy knows of the split when a user of the lowest buckets is always on the newer one.
	var users []*user
	for i := 0; len(users) < 2; i++ {
		id := fmt.Sprint("first-", i)
		if bucket, _ := wadi.BucketOf(name, []string{id}); bucket < 100 {
			for _, w := range bothWays(t, name) {
				w.header = http.Header{"X-User-ID": {id}}
				users = append(users, &user{way: w, bucket: bucket})
			}
		}
	}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		for _, u := range users {
			for range 10 {
				if u.revision = ""; u.call(t, two).Header.Get("Hello-Revision") != two {
					return fmt.Errorf("through %s, the user of bucket %d is on %s", u.name, u.bucket, u.revision)
				}
			}
		}
		return nil
	})
	for i := range 12 {
		id := fmt.Sprint("user-", i)
		bucket, _ := wadi.BucketOf(name, []string{id})
		for _, w := range bothWays(t, name) {
			w.header = http.Header{"X-User-ID": {id}}
			users = append(users, &user{way: w, bucket: bucket})
		}
		browser := &user{way: throughGateway(t, name)}
		cookie, err := http.ParseSetCookie(browser.call(t, two).Header.Get("Set-Cookie"))
		harnesstest.Must(t, "read the cookie", err)
		_, err = fmt.Sscan(cookie.Value, &browser.bucket)
		harnesstest.Must(t, "read the bucket", err)
		browser.header = http.Header{"Cookie": {"theme=dark; who=" + cookie.Value}}
		users = append(users, browser)
	}
	for _, percent := range []int{1, 10, 50, 90, 100} {
		setShares(t, name, one, two, percent)
		for _, u := range users {
			want := one
			if u.bucket < percent*100 {
				want = two
			}
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
				if res := u.call(t, two); u.revision != want {
					return fmt.Errorf("at %d %%, through %s, the user of bucket %d is on %s, want %s", percent, u.name, u.bucket, u.revision, want)
				} else if res.Header.Get("Set-Cookie") != "" {
					return fmt.Errorf("through %s, a known user gets the cookie %s", u.name, res.Header.Get("Set-Cookie"))
				}
				return nil
			})
		}
	}
}

// A copy of every request goes to a tagged revision, from zero at first, and costs the callers
// nothing when that hangs.
func TestMirror_HangingTarget(t *testing.T) {
	t.Parallel()
	const name, one = "copied", "copied-00001"
	const mirror = "mirror {\n    tag     = \"canary\"\n    percent = 100\n  }\n  "
	deploy(t, version(name, "1"))
	stack.Deploy(t, versionWith(name, map[string]string{"ANSWER": "sleep=60s"}, `window = "1h"`, mirror+harnesstest.Traffic("100 "+one, "0 latest canary")))
	copies := func(result string) float64 {
		return stack.Metric(t, `wadi_gateway_mirrored_requests_total{result="`+result+`"}`)
	}
	send := func(path string) {
		t.Helper()
		res := stack.Get(t, name, path)
		harnesstest.WantStatus(t, res, http.StatusOK)
		if got := res.Header.Get("Hello-Revision"); got != one {
			t.Fatalf("a caller got the answer of %s, want %s", got, one)
		}
	}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if send("/?sleep=0s"); copies("answered") == 0 {
			return fmt.Errorf("no copy is answered: %s", stack.TasksOf(name))
		}
		return nil
	})
	for range 200 {
		send("/")
	}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if copies("timeout") == 0 {
			return fmt.Errorf("no copy has timed out: %g answered", copies("answered"))
		}
		return nil
	})
}

// setShares gives the newer revision a share, and the older one what is left, as by `wadi traffic`.
func setShares(t *testing.T, name, older, newer string, percent int) {
	t.Helper()
	share, rest := float64(percent), float64(100-percent)
	targets := []api.Target{{Revision: newer, Percent: &share}}
	if rest > 0 {
		targets = append(targets, api.Target{Revision: older, Percent: &rest})
	}
	_, err := stack.Agent.Client.SetTraffic(t.Context(), name, api.Traffic{Targets: targets})
	harnesstest.Must(t, "set traffic", err)
}
