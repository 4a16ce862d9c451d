//go:build e2e

package images_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// soonZero lets an idle service go to zero soon.
const soonZero = "scale {\n window = \"6s\"\n }"

// manifests are the requests that a pull begins with: two each time it fails.
func manifests(r *containers.Registry) int {
	return r.Count(containers.KindManifest, containers.KindManifestHead)
}

// phase is one phase of a Server-Timing header; 0 if it is not there.
func phase(t *testing.T, header, name string) time.Duration {
	t.Helper()
	m := regexp.MustCompile(`(?:^|, )` + name + `;dur=([0-9.]+)`).FindStringSubmatch(header)
	if m == nil {
		return 0
	}
	ms, err := strconv.ParseFloat(m[1], 64)
	harnesstest.Must(t, "read "+header, err)
	return time.Duration(ms * float64(time.Millisecond))
}

func statusOf(t *testing.T, service string) wadi.Status {
	t.Helper()
	s, err := stack.Agent.Client.Service(t.Context(), service)
	harnesstest.Must(t, "read "+service, err)
	return s.Status
}

// firstRevision is a service's first revision in its status; zero: it is not there yet.
func firstRevision(t *testing.T, service string) wadi.RevisionStatus {
	t.Helper()
	for _, r := range statusOf(t, service).Revisions {
		if r.ID == service+"-00001" {
			return r
		}
	}
	return wadi.RevisionStatus{}
}

// A service at zero whose image is gone from the node pulls it at its next wake: the same
// image, whatever its tag says by then. The caller learns how long that took; of a start
// that pulls nothing no such phase is reported.
func TestPulls_AtWake(t *testing.T) {
	t.Parallel()
	r := serveRegistry(t, containers.RegistryOptions{})
	ref := r.Ref("app:1")
	old := pushVersion(t, r, "app:1", "old")
	stack.Deploy(t, tagged("asleep", ref, soonZero))
	const lasts = 1500 * time.Millisecond // Of each layer at least.
	r.SetFault(containers.Fault{Kinds: []containers.Kind{containers.KindBlob}, Delay: lasts})
	pushed := stack.Metric(t, `wadi_activator_cold_start_seconds_count{phase="pull"}`)
	for _, pulled := range []bool{true, false} {
		stack.ToZero(t, "asleep-00001")
		if pulled {
			pushVersion(t, r, "app:1", "new")
			forget(t, ref, r.Ref("app@"+old))
		}
		res := stack.Get(t, "asleep", "/")
		harnesstest.WantStatus(t, res, 200)
		if got := res.Header.Get("Hello-Version"); got != "old" {
			t.Errorf("version %q answers, want the one that was submitted", got)
		}
		timing := res.Header.Get("Server-Timing")
		got := phase(t, timing, "pull")
		if pulled && got < lasts || !pulled && got > 0 {
			t.Errorf("pulled is %t, and Server-Timing %q", pulled, timing)
		}
		sum := time.Duration(0)
		for _, name := range []string{"queue", "place", "pull", "start", "probe", "forward"} {
			sum += phase(t, timing, name)
		}
		if sum > res.Took+time.Second || strings.Contains(timing, "dur=-") {
			t.Errorf("phases of %v in an answer after %v: %q", sum, res.Took, timing)
		}
		t.Logf("pulled: %t: %s", pulled, timing)
	}
	if n := stack.Metric(t, `wadi_activator_cold_start_seconds_count{phase="pull"}`); n <= pushed {
		t.Errorf("%v cold starts with a pull are counted, want one more than %v", n, pushed)
	}
}

// A revision that was never ready fails early where asking again does not help: with the
// reason and what to do, after three instances, and the registry is not asked any more.
func TestPulls_Hopeless(t *testing.T) {
	t.Parallel()
	app, err := containers.Built("hello", containers.Architecture("arm64"))
	harnesstest.Must(t, "make the image", err)
	index, err := containers.Index(app)
	harnesstest.Must(t, "make the index", err)
	for _, tt := range []struct {
		name, ref string
		fault     containers.Fault
		want      wadi.PullFailure
	}{
		{name: "no-tag", ref: "app:nope", want: wadi.PullNoTag},
		{name: "no-image", ref: "none/app:1", want: wadi.PullNoImage},
		{name: "refused", ref: "app:1", fault: containers.Fault{Kinds: []containers.Kind{containers.KindManifest, containers.KindManifestHead}, Status: 401}, want: wadi.PullUnauthorised},
		{name: "other-arch", ref: "arm:1", want: wadi.PullArchitecture},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := serveRegistry(t, containers.RegistryOptions{})
			pushVersion(t, r, "app:1", tt.name)
			_, err := r.PushIndex("arm:1", index)
			harnesstest.Must(t, "push the index", err)
			if tt.fault.Status != 0 {
				r.SetFault(tt.fault)
			}
			stack.Submit(t, tagged(tt.name, r.Ref(tt.ref), `resolve_images = "off"`))
			var rev wadi.RevisionStatus
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
				if rev = firstRevision(t, tt.name); rev.Phase != wadi.Failed {
					return fmt.Errorf("it is %s: %s", rev.Phase, rev.Reason)
				}
				return nil
			})
			for _, want := range []string{"3 instances, one after the other, could not have an image", tt.want.String(), tt.want.Remedy(), r.Address()} {
				if !strings.Contains(rev.Reason, want) {
					t.Errorf("the reason is %q, want %q in it", rev.Reason, want)
				}
			}
			res := stack.Get(t, tt.name, "/")
			harnesstest.WantStatus(t, res, 503)
			if strings.Contains(res.Body, r.Address()) {
				t.Errorf("a caller from outside learns the registry: %s", res.Body)
			}
			if n := manifests(r); n == 0 || n > 3*4*2 {
				t.Errorf("%d requests for manifests, want those of three instances at most", n)
			}
		})
	}
}

// A registry that says 429 is left alone: it is asked a few times in a minute, callers learn
// why and for how long, and the revision is ready soon after the registry answers.
func TestPulls_TooManyRequests(t *testing.T) {
	t.Parallel()
	r := serveRegistry(t, containers.RegistryOptions{})
	pushVersion(t, r, "app:1", "limited")
	limited := containers.Fault{Kinds: []containers.Kind{containers.KindManifest, containers.KindManifestHead}, Status: 429, RetryAfter: time.Minute}
	r.SetFault(limited)
	stack.Submit(t, tagged("limited", r.Ref("app:1"), `resolve_images = "off"`))
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if manifests(r) == 0 {
			return fmt.Errorf("the registry was not asked yet")
		}
		return nil
	})
	var asked []int // After each second, or later where the machine is busy.
	began := time.Now()
	for range 60 {
		asked = append(asked, manifests(r))
		res, err := stack.Agent.Get(t.Context(), "limited", "/")
		harnesstest.Must(t, "ask", err)
		if res.Status != 503 {
			t.Fatalf("got %d: %s", res.Status, res.Body)
		}
		if len(asked) == 15 {
			if res.Header.Get("Retry-After") == "" || !strings.Contains(res.Body, "too many requests") || strings.Contains(res.Body, r.Address()) {
				t.Errorf("callers get %v\n%s", res.Header, res.Body)
			}
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // While it is tried again there is no reason.
				st := statusOf(t, "limited")
				if rev := firstRevision(t, "limited"); rev.Phase != wadi.Pending || !strings.Contains(fmt.Sprint(st.Conditions), "too many requests") {
					return fmt.Errorf("status is %+v", st)
				}
				return nil
			})
		}
		harnesstest.Must(t, "wait", wadi.Sleep(t.Context(), time.Second))
	}
	// Two requests a try; tries after 0, 10, 30 and 70 s, and so on. On a busy machine Nomad
	// may try an instance again before the leader knows, four times at most. By itself it
	// would try sixteen times a minute.
	tries, took := 1, time.Since(began)
	for at, pause := time.Duration(0), 10*time.Second; at+pause <= took; pause = min(2*pause, 2*time.Minute) {
		at, tries = at+pause, tries+1
	}
	if n := asked[len(asked)-1]; n > tries*4*2 {
		t.Errorf("the registry was asked %d times within %v: %v", n, took, asked)
	}
	t.Logf("requests for manifests, by second: %v", asked)
	r.SetFault()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		res, err := stack.Agent.Get(t.Context(), "limited", "/")
		if err == nil && res.Status != 200 {
			err = fmt.Errorf("status %d: %s", res.Status, res.Body)
		}
		return err
	})
}

// A revision that was ready stays so when its registry is away: callers learn the kind, and
// it serves again when the registry answers.
func TestPulls_RegistryAway(t *testing.T) {
	t.Parallel()
	r := serveRegistry(t, containers.RegistryOptions{})
	ref := r.Ref("app:1")
	digest := pushVersion(t, r, "app:1", "away")
	stack.Deploy(t, tagged("away", ref, soonZero, "queue {\n timeout = \"12s\"\n }"))
	stack.ToZero(t, "away-00001")
	r.SetFault(containers.Fault{Status: 503})
	forget(t, ref, r.Ref("app@"+digest))
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // A try may last longer than queue.timeout on a busy machine.
		res, err := stack.Agent.Get(t.Context(), "away", "/")
		switch {
		case err != nil:
			return err
		case res.Status == 200 || strings.Contains(res.Body, r.Address()):
			t.Fatalf("callers get %d: %s", res.Status, res.Body)
		case res.Status != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(res.Body, wadi.PullAway.String()):
			return fmt.Errorf("callers get %d %v: %s", res.Status, res.Header, res.Body)
		}
		return nil
	})
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		st := statusOf(t, "away")
		for _, c := range st.Conditions {
			if c.Type == "Serving" && !c.OK && strings.Contains(c.Message, wadi.PullAway.String()) && strings.Contains(c.Message, r.Address()) {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", st.Conditions)
	})
	if rev := firstRevision(t, "away"); rev.Phase != wadi.Ready {
		t.Errorf("it is %s: %s", rev.Phase, rev.Reason)
	}
	r.SetFault()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		res, err := stack.Agent.Get(t.Context(), "away", "/")
		if err == nil && (res.Status != 200 || res.Header.Get("Hello-Version") != "away") {
			err = fmt.Errorf("status %d: %s", res.Status, res.Body)
		}
		return err
	})
}
