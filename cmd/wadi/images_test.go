package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

// A tag that moved is told by plan, and by apply, which makes a new revision of the same
// file; a tag without an answer is told with what to do.
func TestImages_Texts(t *testing.T) {
	b := newBench(t)
	path := written(t, "hello.hcl", strings.NewReplacer("raw_exec", "docker", `command = "/bin/a"`, `image = "example/web:1.4"`).Replace(planFile))
	long := "docker.io/example/web:1.4"
	b.registries.Push(long, "v1")
	b.wadi(t, "apply", "-detach", path).want(t, 0, "hello: submitted, new revision hello-00001\n", "")
	b.wadi(t, "plan", path).want(t, 0, "    Service: \"hello\" (unchanged, revision hello-00001)\n", "")

	b.registries.Push(long, "v2")
	moved := "image web: example/web:1.4 moved from " + wadi.ShortDigest(admissiontest.Digest("v1")) + " to " + wadi.ShortDigest(admissiontest.Digest("v2"))
	o := b.wadi(t, "plan", path)
	want := "+/- Service: \"hello\" (new revision hello-00002, for image of web)\n  +/- " + moved + "\n"
	if o.code != 1 || !strings.HasPrefix(o.stdout, want) {
		t.Errorf("plan: %d\n%s%s\nwant\n%s", o.code, o.stdout, o.stderr, want)
	}
	b.wadi(t, "apply", "-detach", path).want(t, 0, "hello: submitted, new revision hello-00002\n", "hello: "+moved+"\n")

	b.registries.Fail("", errors.New(`image "example/web:1.4": its registry is away; try again`))
	b.wadi(t, "apply", "-detach", path).want(t, 0, "hello: unchanged, revision hello-00002\n",
		"Warning: hello: image of task web: image \"example/web:1.4\": its registry is away; try again; it stays at the digest of the revision before, "+wadi.ShortDigest(admissiontest.Digest("v2"))+"\n")
	o = b.wadi(t, "plan", path)
	if o.code != 0 || !strings.Contains(o.stdout, "Warning: image of task web: image \"example/web:1.4\": its registry is away") {
		t.Errorf("plan: %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

// A plan says that images are fetched first, and apply and plan which ones can't be.
func TestImages_Prefetch(t *testing.T) {
	b := newBench(t)
	hcl := strings.NewReplacer("raw_exec", "docker", `command = "/bin/a"`, `image = "example/web:${TAG}"`,
		"  instance {", "  image_prefetch = true\n  resolve_images = \"off\"\n  instance {").Replace(planFile)
	path := written(t, "hello.hcl", hcl)
	const skipped = "image_prefetch: the image of task web is not fetched: ${TAG} is known to the task alone"
	o := b.wadi(t, "plan", path)
	for _, want := range []string{"the images of hello-00001 are fetched to the nodes before it starts (image_prefetch)\n", "Warning: " + skipped} {
		if o.code != 1 || !strings.Contains(o.stdout, want) {
			t.Errorf("plan: %d\n%s%s\nwant %q", o.code, o.stdout, o.stderr, want)
		}
	}
	b.wadi(t, "apply", "-detach", path).want(t, 0, "hello: submitted, new revision hello-00001\n", "Warning: hello: "+skipped+"\n")
	o = b.wadi(t, "plan", written(t, "hello.hcl", strings.Replace(hcl, "image_prefetch = true", "image_prefetch = false", 1)))
	if o.code != 1 || strings.Contains(o.stdout, "fetched") || strings.Contains(o.stdout, "new revision") {
		t.Errorf("plan of switching it off: %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

// Status shows the tags and the digests of the newest revision, and of those with traffic.
func TestImages_InStatus(t *testing.T) {
	b := newBench(t)
	b.wadi(t, "apply", "-detach", written(t, "hello.hcl", planFile))
	digest := admissiontest.Digest("v1")
	b.store.SetStatus(wadi.Status{Service: "hello", Generation: 1, Phase: "ready", Revisions: []wadi.RevisionStatus{
		{ID: "hello-00001", Phase: wadi.Ready, Percent: 100, Created: admissiontest.Now, Images: []wadi.Image{
			{Task: "web", Name: "example/web:1.4", Digest: digest}, {Task: "log", Name: "log:1", Warning: "why\x1b[1m"},
		}},
		{ID: "hello-00000", Phase: wadi.Retired, Created: admissiontest.Now, Images: []wadi.Image{{Task: "web", Name: "old"}}},
	}})
	o := b.wadi(t, "service", "status", "hello")
	for _, want := range []string{
		"REVISION      TASK   IMAGE             DIGEST                NOTE\n",
		"hello-00001   web    example/web:1.4   " + wadi.ShortDigest(digest) + "\n",
		"hello-00001   log    log:1             -                     why[1m\n",
	} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("status lacks %q:\n%s", want, o.stdout)
		}
	}
	if strings.Contains(o.stdout, "old") {
		t.Errorf("a retired revision's image is shown:\n%s", o.stdout)
	}
}
