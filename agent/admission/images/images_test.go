package images_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/images"
	"github.com/wadi-run/wadi/jobspecs"
)

const (
	aaa = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	bbb = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestClassify(t *testing.T) {
	docker, podman := wadi.DriverDocker, wadi.DriverPodman
	for _, tt := range []struct {
		in  jobspecs.TaskImage
		ask string
		why string
	}{
		{jobspecs.TaskImage{Driver: docker, Name: "nginx"}, "docker.io/library/nginx:latest", ""},
		{jobspecs.TaskImage{Driver: docker, Name: "https://ghcr.io/acme/web:1"}, "ghcr.io/acme/web:1", ""},
		{jobspecs.TaskImage{Driver: docker, Name: "localhost:5000/web:1"}, "localhost:5000/web:1", ""},
		{jobspecs.TaskImage{Driver: docker, Name: "localhost/web:1"}, "", "that the node has"},
		{jobspecs.TaskImage{Driver: docker, Name: "acme/web@" + aaa}, "", ""},
		{jobspecs.TaskImage{Driver: docker, Name: "acme/web:1@" + aaa}, "", ""},
		{jobspecs.TaskImage{Driver: docker, Name: aaa}, "", ""},
		{jobspecs.TaskImage{Driver: docker, Name: "web", Loaded: true}, "", "loaded from a file"},
		{jobspecs.TaskImage{Driver: docker, Name: "a/${attr.cpu.arch}:1"}, "", "when the task starts"},
		{jobspecs.TaskImage{Driver: docker, Name: "a/web:${x}@" + aaa}, "", "when the task starts"},
		{jobspecs.TaskImage{Driver: docker, Name: "A"}, "", "can't be read"},
		{jobspecs.TaskImage{Driver: podman, Name: "quay.io/a/web:1"}, "quay.io/a/web:1", ""},
		{jobspecs.TaskImage{Driver: podman, Name: "docker://quay.io/a/web"}, "quay.io/a/web:latest", ""},
		{jobspecs.TaskImage{Driver: podman, Name: "docker://nginx"}, "", "registries.conf"},
		{jobspecs.TaskImage{Driver: podman, Name: "a/web:1"}, "", "registries.conf"},
		{jobspecs.TaskImage{Driver: podman, Name: "docker-archive:/a.tar"}, "", "file or directory"},
		{jobspecs.TaskImage{Driver: "other", Name: "a/web:1"}, "", `driver "other"`},
		{jobspecs.TaskImage{Driver: "other", Name: "a/web@" + aaa}, "", ""},
		{jobspecs.TaskImage{Driver: docker, Name: "wadi/queue-proxy:1", Own: true}, "", "no registry"},
		{jobspecs.TaskImage{Driver: docker, Name: "docker.io/wadi/queue-proxy:1", Own: true}, "docker.io/wadi/queue-proxy:1", ""},
	} {
		got := images.Classify(tt.in)
		if got.Ask != tt.ask || (got.Why == "") != (tt.why == "") || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%+v: asks %q, %q; want %q, %q", tt.in, got.Ask, got.Why, tt.ask, tt.why)
		}
	}
}

func TestDecide(t *testing.T) {
	task := func(name string, driver string) images.Task {
		return images.Classify(jobspecs.TaskImage{Task: "web", Driver: driver, Name: name})
	}
	away := images.Answer{Err: errors.New("away\x1b[31m\nnow")}
	before := []wadi.Image{{Task: "old-name", Name: "r.io/web:1", Digest: aaa}, {Task: "b", Name: "r.io/web:2"}}
	for _, tt := range []struct {
		name   string
		mode   wadi.ResolveImages
		in     images.Task
		answer images.Answer
		want   wadi.Image
	}{
		{"an answer", wadi.ResolveTry, task("r.io/web:1", "docker"), images.Answer{Digest: bbb}, wadi.Image{Name: "r.io/web:1", Digest: bbb}},
		{"none, and an earlier one of a task of another name", wadi.ResolveTry, task("r.io/web:1", "docker"), away,
			wadi.Image{Name: "r.io/web:1", Digest: aaa, Warning: "away[31m now; it stays at the digest of the revision before, sha256:aaaaaaaaaaaa"}},
		{"none, and none earlier", wadi.ResolveTry, task("r.io/web:2", "docker"), away, wadi.Image{Name: "r.io/web:2", Warning: "away[31m now"}},
		{"not asked", wadi.ResolveOff, task("r.io/web:1", "docker"), images.Answer{Digest: bbb}, wadi.Image{Name: "r.io/web:1"}},
		{"a digest of its own", wadi.ResolveOff, task("r.io/web@"+aaa, "docker"), images.Answer{}, wadi.Image{Name: "r.io/web@" + aaa, Digest: aaa}},
		{"of the node", wadi.ResolveTry, task("localhost/web:1", "docker"), images.Answer{}, wadi.Image{Name: "localhost/web:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := images.Decide(tt.mode, []images.Task{tt.in}, map[string]images.Answer{"r.io/web:1": tt.answer, "r.io/web:2": tt.answer}, before)
			tt.want.Task = "web"
			if diff := cmp.Diff([]wadi.Image{tt.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever a spec has as an image, what is stored of it is bounded and can't steer a terminal.
func TestDecide_Bounds(t *testing.T) {
	long := images.Classify(jobspecs.TaskImage{Task: "web", Driver: "docker", Name: strings.Repeat("a\x1b", 1<<20)})
	got := images.Decide(wadi.ResolveTry, []images.Task{long}, nil, nil)[0]
	if len(got.Name) > 1100 || len(got.Warning) > 1100 || strings.Contains(got.Name, "\x1b") || got.Warning == "" {
		t.Errorf("name of %d bytes, warning %q", len(got.Name), got.Warning)
	}
}

func TestMoved(t *testing.T) {
	before := []wadi.Image{{Task: "same", Name: "a", Digest: aaa}, {Task: "moved", Name: "b", Digest: aaa}, {Task: "renamed", Name: "c", Digest: aaa}, {Task: "found", Name: "d"}, {Task: "lost", Name: "e", Digest: aaa}}
	after := []wadi.Image{{Task: "same", Name: "a", Digest: aaa}, {Task: "moved", Name: "b", Digest: bbb}, {Task: "renamed", Name: "c2", Digest: bbb}, {Task: "found", Name: "d", Digest: bbb}, {Task: "lost", Name: "e"}, {Task: "new", Name: "f", Digest: aaa}}
	var got []string
	for _, m := range images.Moved(before, after) {
		got = append(got, m.String())
	}
	want := []string{
		"image moved: b moved from sha256:aaaaaaaaaaaa to sha256:bbbbbbbbbbbb",
		"image found: d is sha256:bbbbbbbbbbbb now, and was not resolved before",
		"image lost: e is not resolved any more, and was sha256:aaaaaaaaaaaa",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
