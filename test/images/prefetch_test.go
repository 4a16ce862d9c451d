//go:build e2e

package images_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// prefetched is a service of the example app in a container. It is ready without an
// instance, so that its first request pays for whatever is missing.
func prefetched(name, image, more string) string {
	return fmt.Sprintf(`service %q {
  network        = "host"
  mesh           = "off"
  image_prefetch = true
  instance {
    task "web" {
      driver = "docker"
      config {
        image = %q
      }
      resources {
        cpu    = 20
        memory = 64
      }
    }
  }
  scale {
    initial = 0
  }
  %s
}
`, name, image, more)
}

// tagOnly has nobody ask a registry that does not answer.
const tagOnly = "resolve_images = \"off\"\n"

// registryWith serves one image that no node has yet.
func registryWith(t *testing.T, ref string) *containers.Registry {
	t.Helper()
	r, err := containers.StartRegistry(containers.RegistryOptions{})
	harnesstest.Must(t, "start a registry", err)
	t.Cleanup(r.Close)
	push(t, r, ref)
	return r
}

// push makes the image differ in each repository: layers that the engine has are not pulled.
func push(t *testing.T, r *containers.Registry, ref string) {
	t.Helper()
	image, err := containers.Built("hello", containers.File("/ref", []byte(r.Address()+ref), 0o644), containers.Label("ref", r.Address()+ref))
	harnesstest.Must(t, "make the image", err)
	_, err = r.Push(ref, image)
	harnesstest.Must(t, "push", err)
}

// hang has a registry stay silent about images until it is told otherwise.
func hang(r *containers.Registry) {
	r.SetFault(containers.Fault{Kinds: []containers.Kind{containers.KindManifest, containers.KindBlob}, Delay: 10 * time.Minute})
}

func prefetchJob(ctx context.Context, revision string) (*nomad.Job, error) {
	job, _, err := stack.Nomad.Jobs().Info(wadi.PrefetchID(revision), (&nomad.QueryOptions{}).WithContext(ctx))
	return job, err
}

// waitNoJob waits until the job of the images is gone from Nomad.
func waitNoJob(t *testing.T, revision string) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		_, err := prefetchJob(t.Context(), revision)
		if err == nil {
			return errors.New("the job of the images is still there")
		}
		if !strings.Contains(err.Error(), "404") {
			return err
		}
		return nil
	})
}

func revisionStatus(ctx context.Context, service, revision string) (wadi.RevisionStatus, error) {
	s, err := stack.Agent.Client.Service(ctx, service)
	if err != nil {
		return wadi.RevisionStatus{}, err
	}
	for _, r := range s.Status.Revisions {
		if r.ID == revision {
			return r, nil
		}
	}
	return wadi.RevisionStatus{}, fmt.Errorf("no status of %s yet", revision)
}

// waitPrefetch waits until the status says something of how far the images are.
func waitPrefetch(t *testing.T, service, revision, want string, waits bool) wadi.RevisionStatus {
	t.Helper()
	var r wadi.RevisionStatus
	harnesstest.Eventually(t, harnesstest.WaitLong, func() (err error) {
		if r, err = revisionStatus(t.Context(), service, revision); err == nil && (!strings.Contains(r.Prefetch, want) || r.Prefetching != waits) {
			return fmt.Errorf("prefetch %q, waits %t, want %q and %t", r.Prefetch, r.Prefetching, want, waits)
		}
		return err
	})
	return r
}

func submit(t *testing.T, hcl, name string) {
	t.Helper()
	_, err := stack.Agent.Submit(t.Context(), hcl)
	harnesstest.Must(t, "submit", err)
	t.Cleanup(func() {
		if _, err := stack.Agent.Client.Service(context.WithoutCancel(t.Context()), name); errors.Is(err, wadi.ErrNotFound) {
			return
		}
		harnesstest.Must(t, "delete", stack.Agent.Delete(context.WithoutCancel(t.Context()), name))
	})
}

// Without it the first request waits for the pull; with it the registry is not asked again.
func TestPrefetch_FirstRequestDoesNotPull(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{false, true} {
		name := fmt.Sprintf("prefetched-%t", on)
		r := registryWith(t, name+":1")
		r.SetFault(containers.Fault{Kinds: []containers.Kind{containers.KindManifest, containers.KindBlob}, Delay: 500 * time.Millisecond})
		hcl := prefetched(name, r.Ref(name+":1"), "")
		if !on {
			hcl = strings.Replace(hcl, "image_prefetch = true", "image_prefetch = false", 1)
		}
		harnesstest.Must(t, "apply", stack.Agent.Apply(t.Context(), hcl))
		t.Cleanup(func() {
			harnesstest.Must(t, "delete", stack.Agent.Delete(context.WithoutCancel(t.Context()), name))
		})
		first := r.Count(containers.KindBlob) // One is the config, which the agent reads at apply.
		res, err := stack.Agent.Get(t.Context(), name, "/")
		harnesstest.Must(t, "first request", err)
		harnesstest.WantStatus(t, res, 200)
		later := r.Count(containers.KindBlob) - first
		t.Logf("image_prefetch = %t: first request %v, %s; %d blobs before it, %d for it", on, res.Took, res.Header.Get("Server-Timing"), first, later)
		if before, during := first > 1, later > 0; before != on || during == on {
			t.Errorf("image_prefetch = %t: %d blobs before the first request, %d for it", on, first, later)
		}
		if !on {
			continue
		}
		if got := waitPrefetch(t, name, name+"-00001", "1 of 1 node has the images", false); got.Phase != wadi.Ready {
			t.Errorf("phase %s, want ready", got.Phase)
		}
		waitNoJob(t, name+"-00001")
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			out, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "events", "-service", name)
			if err == nil && (!strings.Contains(out.Stdout, "Prefetching") || !strings.Contains(out.Stdout, "Prefetched")) {
				err = fmt.Errorf("the events do not tell it:\n%s", out)
			}
			return err
		})
	}
}

// A registry that does not answer holds the traffic until the deadline, and the job of the
// images does not outlive it.
func TestPrefetch_DeadlineWithSilentRegistry(t *testing.T) {
	t.Parallel()
	r := registryWith(t, "silent:1")
	hang(r)
	submit(t, prefetched("silent", r.Ref("silent:1"), tagOnly+"timeout {\n progress = \"40s\"\n }"), "silent")
	waits := waitPrefetch(t, "silent", "silent-00001", "0 of 1 node has the images; node ", true)
	if waits.Phase != wadi.Pending || !strings.HasPrefix(waits.Reason, "prefetch: 0 of 1 node has the images") {
		t.Errorf("phase %s, reason %q, want pending and what it waits for", waits.Phase, waits.Reason)
	}
	out, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "explain", "silent")
	harnesstest.Must(t, "explain", err)
	ended, err := revisionStatus(t.Context(), "silent", "silent-00001")
	harnesstest.Must(t, "status", err)
	if ended.Prefetching && !strings.Contains(out.Stdout, "when its images are on the nodes") {
		t.Errorf("explain does not say what it waits for:\n%s", out)
	}
	waitPrefetch(t, "silent", "silent-00001", "given up after ", false)
	waitNoJob(t, "silent-00001")
	r.SetFault()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if now, err := revisionStatus(t.Context(), "silent", "silent-00001"); err != nil || now.Phase != wadi.Ready {
			return fmt.Errorf("phase %s (%w)", now.Phase, err)
		}
		return nil
	})
}

// A tag that does not exist ends the wait at once, in words, and the revision still starts
// by itself once there is one.
func TestPrefetch_HopelessPullEndsTheWait(t *testing.T) {
	t.Parallel()
	r := registryWith(t, "notag:1")
	submit(t, prefetched("notag", r.Ref("notag:2"), tagOnly), "notag")
	waitPrefetch(t, "notag", "notag-00001", "0 of 1 node has the images; node ", false)
	if got := waitPrefetch(t, "notag", "notag-00001", ": task web: no such tag", false); got.Phase == wadi.Failed {
		t.Errorf("phase %s: a failed prefetch does not fail the revision", got.Phase)
	}
	waitNoJob(t, "notag-00001")
	push(t, r, "notag:2")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		res, err := stack.Agent.Get(t.Context(), "notag", "/")
		if err == nil && res.Status != 200 {
			err = fmt.Errorf("status %d: %s", res.Status, res.Body)
		}
		return err
	})
}

// Callers stay with the old revision while the new one's images are fetched, also when the
// agent dies meanwhile; the next one goes on with the same job.
func TestPrefetch_AgentDiesMeanwhile(t *testing.T) {
	// Not parallel: the other tests need the agent.
	r := registryWith(t, "dies:1")
	submit(t, prefetched("dies", r.Ref("dies:1"), ""), "dies")
	waitPrefetch(t, "dies", "dies-00001", "1 of 1 node has the images", false)
	push(t, r, "dies:2")
	hang(r)
	_, err := stack.Agent.Submit(t.Context(), prefetched("dies", r.Ref("dies:2"), tagOnly))
	harnesstest.Must(t, "submit", err)
	waitPrefetch(t, "dies", "dies-00002", "0 of 1 node has the images; node ", true)
	before, err := prefetchJob(t.Context(), "dies-00002")
	harnesstest.Must(t, "read the job", err)

	harnesstest.Must(t, "kill", stack.Agent.Kill())
	harnesstest.Must(t, "start", stack.Agent.Start(t.Context()))
	harnesstest.Must(t, "wait for the leader", stack.Agent.WaitLeader(t.Context()))
	waitPrefetch(t, "dies", "dies-00002", "0 of 1 node has the images; node ", true)
	after, err := prefetchJob(t.Context(), "dies-00002")
	harnesstest.Must(t, "read the job", err)
	if *after.CreateIndex != *before.CreateIndex || *after.JobModifyIndex != *before.JobModifyIndex {
		t.Error("the next leader registered the job again")
	}
	if route, err := stack.Agent.Client.Service(t.Context(), "dies"); err != nil || len(route.Status.Traffic) != 1 || route.Status.Traffic[0].Revision != "dies-00001" {
		t.Errorf("traffic %+v (%v), want the old revision's", route.Status.Traffic, err)
	}
	r.SetFault()
	waitPrefetch(t, "dies", "dies-00002", "1 of 1 node has the images", false)
	waitNoJob(t, "dies-00002")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		s, err := stack.Agent.Client.Service(t.Context(), "dies")
		if err == nil && (len(s.Status.Traffic) != 1 || s.Status.Traffic[0].Revision != "dies-00002") {
			err = fmt.Errorf("traffic %+v, want the new revision's", s.Status.Traffic)
		}
		return err
	})
}

// Nothing of it is left when nothing waits for it any more: the setting is switched off, the
// service is deleted, or the next revision takes its place.
func TestPrefetch_NothingWaitsAnyMore(t *testing.T) {
	t.Parallel()
	r := registryWith(t, "over:1")
	push(t, r, "over:2")
	hang(r)
	t.Cleanup(func() { r.SetFault() }) // The engine's pulls go on.
	hcl := prefetched("over", r.Ref("over:1"), tagOnly)
	submit(t, hcl, "over")
	waitPrefetch(t, "over", "over-00001", "0 of 1 node has the images; node ", true)

	next := strings.ReplaceAll(hcl, "over:1", "over:2")
	_, err := stack.Agent.Submit(t.Context(), next)
	harnesstest.Must(t, "submit the next", err)
	waitPrefetch(t, "over", "over-00002", "0 of 1 node has the images; node ", true)
	waitNoJob(t, "over-00001")
	harnesstest.Must(t, "apply", stack.Agent.Apply(t.Context(), strings.Replace(next, "image_prefetch = true", "image_prefetch = false", 1)))
	waitNoJob(t, "over-00002")

	submit(t, strings.ReplaceAll(hcl, `"over"`, `"over-deleted"`), "over-deleted")
	waitPrefetch(t, "over-deleted", "over-deleted-00001", "0 of 1 node has the images; node ", true)
	harnesstest.Must(t, "delete", stack.Agent.Delete(t.Context(), "over-deleted"))
	waitNoJob(t, "over-deleted-00001")
}
