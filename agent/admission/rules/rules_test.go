package rules_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/rules"
)

func service(meta map[string]string, tasks ...string) wadi.Service {
	return wadi.Service{Name: "shop", Meta: meta, Instance: json.RawMessage(`{"Tasks": [` + strings.Join(tasks, ",") + `]}`)}
}

func task(name, driver, config string) string {
	return fmt.Sprintf(`{"Name": %q, "Driver": %q, "Config": %s}`, name, driver, config)
}

func images(t *testing.T, patterns ...string) (all []rules.Image) {
	t.Helper()
	for _, p := range patterns {
		i, err := rules.ParseImage(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	return all
}

func paths(problems []wadi.Problem) (out []string) {
	for _, p := range problems {
		out = append(out, p.Path)
	}
	return out
}

func TestCheck(t *testing.T) {
	web, init := task("web", "docker", `{"image": "nginx"}`), task("init", "raw_exec", `{"command": "sh"}`)
	for _, tt := range []struct {
		name  string
		rules rules.Rules
		in    wadi.Service
		want  []string
	}{
		{"no rules", rules.Rules{}, service(nil, web, init), nil},
		{"meta is there", rules.Rules{Meta: []string{"team"}}, service(map[string]string{"team": "a"}), nil},
		{"meta is missing", rules.Rules{Meta: []string{"team", "tier"}}, service(map[string]string{"team": "a"}), []string{"meta"}},
		{"meta is empty", rules.Rules{Meta: []string{"team"}}, service(map[string]string{"team": " "}), []string{"meta"}},
		{"every task", rules.Rules{Drivers: []string{"docker"}}, service(nil, web, init), []string{"instance.task.init.driver"}},
		{"drivers are names, not patterns", rules.Rules{Drivers: []string{"doc"}}, service(nil, web), []string{"instance.task.web.driver"}},
		{"images do not concern other drivers", rules.Rules{Images: images(t, "docker.io/library/*")}, service(nil, web, init), nil},
		{"an image of a file", rules.Rules{Images: images(t, "**")}, service(nil, task("web", "docker", `{"image": "nginx", "load": "n.tar"}`)), []string{"instance.task.web.config.load"}},
		{"an image by reference", rules.Rules{Images: images(t, "**")}, service(nil, task("web", "docker", `{"image": "${NOMAD_META_image}"}`)), []string{"instance.task.web.config.image"}},
		{"an image that is no text", rules.Rules{Images: images(t, "**")}, service(nil, task("web", "docker", `{"image": ["nginx"]}`)), []string{"instance.task.web.config.image"}},
		{"a group that can't be read", rules.Rules{Drivers: []string{"docker"}}, wadi.Service{Instance: json.RawMessage(`{"Tasks": 5}`)}, []string{"instance"}},
		{"all rules at once", rules.Rules{Meta: []string{"team"}, Drivers: []string{"exec"}, Images: images(t, "ghcr.io/**")}, service(nil, web),
			[]string{"meta", "instance.task.web.driver", "instance.task.web.config.image"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, paths(tt.rules.Check(tt.in, nil))); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

const digest = "@sha256:58ac43b2cc92c687a32c8be6278e50a063579655fe3090125dcb2af0ff9e1a64"

func TestImages(t *testing.T) {
	for _, tt := range []struct {
		pattern, image string
		want           bool
	}{
		{"docker.io/library/nginx", "nginx", true},
		{"docker.io/library/nginx", "nginx:1.27", true},
		{"docker.io/library/nginx", "nginx" + digest, true},
		{"docker.io/library/nginx", "docker.io/library/nginx", true},
		{"docker.io/library/nginx", "index.docker.io/library/nginx", true},
		{"docker.io/library/nginx", "https://nginx", true},
		{"docker.io/library/nginx", "docker://nginx", true},
		{"docker.io/library/nginx", "evil/nginx", false},
		{"docker.io/library/nginx", "evil.example.com/library/nginx", false},
		{"docker.io/library/nginx", "nginx2", false},
		{"docker.io/library/nginx:1.*", "nginx:1.27", true},
		{"docker.io/library/nginx:1.*", "nginx:21.27", false},
		{"docker.io/library/nginx:1.*", "nginx", false},
		{"docker.io/library/nginx:1.*", "nginx:1.27" + digest, false}, // Docker ignores the tag.
		{"docker.io/library/nginx:latest", "nginx", true},
		{"ghcr.io/acme/*@sha256:*", "ghcr.io/acme/web" + digest, true},
		{"ghcr.io/acme/*@sha256:*", "ghcr.io/acme/web:1" + digest, true},
		{"ghcr.io/acme/*@sha256:*", "ghcr.io/acme/web:1", false},
		{"ghcr.io/acme/*", "ghcr.io/acme/a/b", false},
		{"ghcr.io/acme/**", "ghcr.io/acme/a/b", true},
		{"ghcr.io/acme/**", "ghcr.io/acme", false},
		{"ghcr.io/acme/**", "ghcr.io/acme-evil/a", false},
		{"ghcr.io/acme/**", "ghcrXio/acme/a", false},
		{"*.example.com/**", "a.example.com/x", true},
		{"*.example.com/**", "a.example.com.evil.org/x", false},
		{"localhost:5000/*", "localhost:5000/x:1", true},
		{"localhost:5000/*", "localhost:5001/x", false},
		{"docker.io/library/**", "sha256:" + digest[8:], false}, // An image's ID.
		{"**", digest[8:], false},
		{"**", "oci-archive:/tmp/x.tar", false},
		{"**", "oci-archive:x", false}, // podman's own reading; the tag of an image by any other.
		{"docker.io/library/*", "docker://dir:x", false},
		{"docker.io/library/*", "containers-storage:x", false},
		{"docker.io/library/*", "oci-archive2:x", true},
		{"**", "nginx:", false},
		{"**", "NGINX", false},
		{"**", "", false},
		{"**", "a/b/c:1", true},
	} {
		r := rules.Rules{Images: images(t, tt.pattern)}
		problems := r.Check(service(nil, task("web", "docker", fmt.Sprintf(`{"image": %q}`, tt.image))), nil)
		if got := len(problems) == 0; got != tt.want {
			t.Errorf("pattern %s, image %s: allowed is %v, want %v: %v", tt.pattern, tt.image, got, tt.want, problems)
		}
	}
}

func TestParseImage_Mistakes(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                       "registry",
		"nginx":                  "registry",
		"acme/web":               "registry",
		"ghcr.io":                "registry",
		"ghcr.io/":               "registry",
		"ghcr.io/a:":             "empty",
		"ghcr.io/a@":             "empty",
		"ghcr.io/a:1@sha256:*":   "leave out",
		"ghcr.io/${x}":           "no pattern",
		"ghcr.io/[a-z]":          "no pattern",
		"ghcr.io/a b":            "no pattern",
		strings.Repeat("a", 301): "no pattern",
	} {
		if _, err := rules.ParseImage(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", pattern, err, want)
		}
	}
}

// A refusal says what was wrong, which rule it broke, and what would be right.
func TestCheck_Texts(t *testing.T) {
	r := rules.Rules{Meta: []string{"team"}, Drivers: []string{"docker"}, Images: images(t, "a.io/1", "a.io/2", "a.io/3", "a.io/4", "a.io/5", "a.io/6")}
	var got []string
	for _, p := range r.Check(service(nil, task("web", "podman", `{"image": "nginx"}`), task("init", "docker", `{"image": "a.io/${x}"}`)), nil) {
		got = append(got, p.String())
	}
	want := []string{
		`meta: this cluster requires the key "team" with a value (admission_meta.require); add: meta = { "team" = "…" }`,
		`instance.task.web.driver: the driver "podman" is not allowed by this cluster (admission_tasks.drivers); use docker`,
		`instance.task.web.config.image: the image docker.io/library/nginx:latest is not allowed by this cluster (admission_tasks.images); it allows a.io/1, a.io/2, a.io/3, a.io/4, a.io/5 and 1 more`,
		`instance.task.init.config.image: "a.io/${x}" is known only when the task starts, and this cluster allows some images only (admission_tasks.images); write the image itself`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A digest that a registry gave counts as the image's own, and its tag still does.
func TestCheck_ResolvedDigests(t *testing.T) {
	for _, tt := range []struct {
		pattern, image string
		resolved       wadi.Image
		want, asked    bool
	}{
		{"ghcr.io/acme/*@sha256:*", "ghcr.io/acme/web:1", wadi.Image{Task: "web", Name: "ghcr.io/acme/web:1", Digest: digest[1:]}, true, true},
		{"ghcr.io/acme/*" + digest, "ghcr.io/acme/web:1", wadi.Image{Task: "web", Name: "ghcr.io/acme/web:1", Digest: digest[1:]}, true, true},
		{"ghcr.io/acme/*@sha256:00*", "ghcr.io/acme/web:1", wadi.Image{Task: "web", Name: "ghcr.io/acme/web:1", Digest: digest[1:]}, false, true},
		{"ghcr.io/acme/*:1", "ghcr.io/acme/web:1", wadi.Image{Task: "web", Name: "ghcr.io/acme/web:1", Digest: digest[1:]}, true, true},
		{"ghcr.io/acme/*@sha256:*", "ghcr.io/acme/web:1", wadi.Image{Task: "web", Name: "ghcr.io/acme/web:1"}, false, true},
		{"ghcr.io/acme/*@sha256:*", "ghcr.io/acme/web:1", wadi.Image{Task: "other", Name: "ghcr.io/acme/web:1", Digest: digest[1:]}, false, true},
		{"ghcr.io/acme/*@sha256:*", "ghcr.io/acme/web:1", wadi.Image{Task: "web", Name: "ghcr.io/acme/web:2", Digest: digest[1:]}, false, true},
		{"ghcr.io/acme/*@sha256:*", "evil.io/acme/web:1", wadi.Image{Task: "web", Name: "evil.io/acme/web:1", Digest: digest[1:]}, false, false},
		{"ghcr.io/acme/*:2", "ghcr.io/acme/web:1", wadi.Image{Task: "web", Name: "ghcr.io/acme/web:1", Digest: digest[1:]}, false, false},
	} {
		r := rules.Rules{Images: images(t, tt.pattern)}
		problems := r.Check(service(nil, task("web", "docker", fmt.Sprintf(`{"image": %q}`, tt.image))), []wadi.Image{tt.resolved})
		if got := len(problems) == 0; got != tt.want {
			t.Errorf("pattern %s, image %+v: allowed is %v, want %v: %v", tt.pattern, tt.resolved, got, tt.want, problems)
		}
		if got := r.MayAllow(tt.image); got != tt.asked {
			t.Errorf("pattern %s, image %s: its registry is asked: %v, want %v", tt.pattern, tt.image, got, tt.asked)
		}
	}
}
