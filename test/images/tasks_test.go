//go:build e2e

package images_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// beside is a task in a container next to the app; hook is its lifecycle.
func beside(name, image, hook string) string {
	return fmt.Sprintf(`task %q {
      driver = "docker"
      lifecycle {
        %s
      }
      config {
        image = %q
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }`, name, hook, image)
}

// Every container of an instance runs a digest: those beside the app as well, and those whose
// images are written as URLs.
func TestDigests_EveryTask(t *testing.T) {
	t.Parallel()
	r := serveRegistry(t, containers.RegistryOptions{})
	digest := pushVersion(t, r, "app:1", "old")
	ref := r.Ref("app:1")
	side := beside("side", "https://"+ref, "hook = \"prestart\"\n sidecar = true")
	spec := strings.Replace(tagged("every", "https://"+ref), "instance {", "instance {\n    "+side+"\n    "+beside("later", ref, "hook = \"poststart\"\n sidecar = true"), 1)
	sub := stack.Deploy(t, spec)[0]
	if got := versions(t, "every", 1); !slices.Equal(got, []string{"old"}) {
		t.Errorf("%v answers", got)
	}
	rev := revision(t, sub.Revision)
	if len(rev.Images) != 3 || slices.ContainsFunc(rev.Images, func(i wadi.Image) bool { return i.Digest != digest }) {
		t.Errorf("images %+v, want three of %s", rev.Images, digest)
	}
	pushVersion(t, r, "app:1", "new")
	if got := stack.Deploy(t, spec)[0]; len(got.Moved) != 3 {
		t.Errorf("after the tag moved: %+v", got.Moved)
	}
}

// While a tag moves, submissions of the same file make revisions one after another, and each
// has one digest for all its tasks.
func TestDigests_ManySubmissionsWhileATagMoves(t *testing.T) {
	t.Parallel()
	r := serveRegistry(t, containers.RegistryOptions{})
	known := map[string]bool{pushVersion(t, r, "app:1", "v0"): true}
	ref := r.Ref("app:1")
	spec := strings.Replace(tagged("raced", ref, unstarted), "instance {", "instance {\n    "+beside("side", ref, "hook = \"prestart\"\n sidecar = true"), 1)
	stack.Deploy(t, spec)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 6 {
				if _, err := stack.Agent.Submit(t.Context(), spec); err != nil && !strings.Contains(err.Error(), "try again") {
					t.Error(err)
				}
			}
		})
	}
	last := ""
	for i := range 5 {
		last = pushVersion(t, r, "app:1", fmt.Sprintf("v%d", i+1))
		known[last] = true
	}
	wg.Wait()
	sub, err := stack.Agent.Submit(t.Context(), spec)
	harnesstest.Must(t, "submit", err)
	for n := 1; ; n++ {
		id := wadi.RevisionID("raced", n)
		rev, err := stack.Agent.Client.Revision(t.Context(), id)
		if err != nil {
			break
		}
		if len(rev.Images) != 2 || rev.Images[0].Digest != rev.Images[1].Digest || !known[rev.Images[0].Digest] {
			t.Errorf("%s has %+v", id, rev.Images)
		}
		if id == sub.Services[0].Revision && rev.Images[0].Digest != last {
			t.Errorf("the newest is %+v, want %s", rev.Images, last)
		}
	}
}
