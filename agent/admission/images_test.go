package admission_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

// imageBench is a bench with registries.
type imageBench struct {
	bench
	registries *admissiontest.Registries
}

func newImageBench(t *testing.T) imageBench {
	t.Helper()
	b := imageBench{bench{nomad: &admissiontest.Nomad{}, store: &admissiontest.Store{}}, &admissiontest.Registries{}}
	a, err := admissiontest.WithRegistries(b.nomad, b.store, nil, b.registries)
	if err != nil {
		t.Fatal(err)
	}
	b.Admission = a
	s := admissiontest.Settings()
	b.settings = &s
	b.registries.Push(web, "v1")
	return b
}

const web = "reg.example/web:1.4"

// docker is a service with a task of this image; more is put beside it.
func docker(image string, more ...string) string { return withDriver("docker", image, more...) }

func withDriver(driver, image string, more ...string) string {
	return fmt.Sprintf(`service "shop" {
  mesh    = "off"
  network = "host"
  %s
  instance {
    task "web" {
      driver = %q
      config {
        image = %q
      }
    }
  }
}
`, strings.Join(more, "\n  "), driver, image)
}

// newest is the newest stored revision.
func (b imageBench) newest(t *testing.T) wadi.Revision {
	t.Helper()
	all, err := b.store.Revisions(t.Context(), "shop")
	if err != nil || len(all) == 0 {
		t.Fatalf("revisions: %d, %v", len(all), err)
	}
	return slices.MaxFunc(all, func(a, b wadi.Revision) int { return a.Number - b.Number })
}

// image is the image of a task in a revision's job.
func image(t *testing.T, rev wadi.Revision, task string) string {
	t.Helper()
	var job struct {
		TaskGroups []struct {
			Tasks []struct {
				Name   string
				Config map[string]any
			}
		}
	}
	if err := json.Unmarshal(rev.Job, &job); err != nil {
		t.Fatal(err)
	}
	for _, found := range job.TaskGroups[0].Tasks {
		if found.Name == task {
			return fmt.Sprint(found.Config["image"])
		}
	}
	return ""
}

func TestImages_TheJobHasTheDigestAndTheSpecTheTag(t *testing.T) {
	b := newImageBench(t)
	got := b.submit(t, request(docker(web))).Services[0]
	if len(got.Warnings) > 0 || len(got.Moved) > 0 {
		t.Errorf("outcome %+v", got)
	}
	rev := b.newest(t)
	if diff := cmp.Diff([]wadi.Image{{Task: "web", Name: web, Digest: admissiontest.Digest("v1")}}, rev.Images); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if got, want := image(t, rev, "web"), web+"@"+admissiontest.Digest("v1"); got != want {
		t.Errorf("the job has %s, want %s", got, want)
	}
	if !strings.Contains(string(rev.Spec.Instance), `"`+web+`"`) {
		t.Errorf("the spec lost the tag: %s", rev.Spec.Instance)
	}
	var job struct {
		Meta map[string]string
		UI   struct{ Description string }
	}
	if err := json.Unmarshal(rev.Job, &job); err != nil {
		t.Fatal(err)
	}
	if got := job.Meta["wadi_image_web"]; got != web+"@"+admissiontest.Digest("v1") {
		t.Errorf("meta %q", got)
	}
	if !strings.Contains(job.UI.Description, web+" ("+wadi.ShortDigest(admissiontest.Digest("v1"))+")") {
		t.Errorf("Nomad's UI says %q", job.UI.Description)
	}
}

func TestImages_TheSameFileAfterTheTagMoved(t *testing.T) {
	b := newImageBench(t)
	b.submit(t, request(docker(web)))
	first := b.newest(t)
	if got := b.submit(t, request(docker(web))).Services[0]; got.Changed || got.NewRevision {
		t.Errorf("the same digest again: %+v", got)
	}
	b.registries.Push(web, "v2")
	moved := []wadi.MovedImage{{Task: "web", Name: web, Before: admissiontest.Digest("v1"), After: admissiontest.Digest("v2")}}
	planned, err := b.Plan(t.Context(), request(docker(web)))
	if err != nil {
		t.Fatal(err)
	}
	if p := planned.Services[0]; !p.NewRevision || !cmp.Equal(p.Moved, moved) || !cmp.Equal(p.Because, []string{"image of web"}) {
		t.Errorf("plan %+v", p)
	}
	got := b.submit(t, request(docker(web))).Services[0]
	if !got.NewRevision || !cmp.Equal(got.Moved, moved) {
		t.Errorf("after the tag moved: %+v", got)
	}
	if want := "image web: " + web + " moved from " + wadi.ShortDigest(moved[0].Before) + " to " + wadi.ShortDigest(moved[0].After); got.Moved[0].String() != want {
		t.Errorf("it says %q, want %q", got.Moved[0], want)
	}
	if again := b.newest(t); again.ID != "shop-00002" || image(t, again, "web") != web+"@"+moved[0].After {
		t.Errorf("the new revision %s runs %s", again.ID, image(t, again, "web"))
	}
	all, _ := b.store.Revisions(t.Context(), "shop")
	i := slices.IndexFunc(all, func(r wadi.Revision) bool { return r.ID == first.ID })
	if string(all[i].Job) != string(first.Job) {
		t.Error("the job of the first revision changed")
	}
}

func TestImages_WithoutAnAnswer(t *testing.T) {
	away := errors.New(`image "reg.example/web:1.4": reg.example does not answer; try again`)
	for _, tt := range []struct {
		name, first, second string
		revision            bool   // The second submission makes one.
		digest              string // Of the newest revision.
		warning             string
	}{
		{"the same file keeps the digest", docker(web), docker(web), false, admissiontest.Digest("v1"), "stays at the digest of the revision before"},
		{"bounds change in place", docker(web), docker(web, "priority = 50", "scale {", "max = 3", "}"), false, admissiontest.Digest("v1"), "stays at"},
		{"another instance keeps the digest of the same name", docker(web), docker(web, "port = 8081"), true, admissiontest.Digest("v1"), "stays at"},
		{"another tag has none", docker("reg.example/web:1.3"), docker(web), true, "", "may be another image at each start"},
		{"off before", docker(web, `resolve_images = "off"`), docker(web), false, "", "may be another image at each start"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newImageBench(t)
			b.registries.Push("reg.example/web:1.3", "v0")
			b.submit(t, request(tt.first))
			b.registries.Push(web, "v2")
			b.registries.Fail("", away)
			got := b.submit(t, request(tt.second)).Services[0]
			if got.NewRevision != tt.revision {
				t.Errorf("outcome %+v", got)
			}
			if text := strings.Join(got.Warnings, "\n"); !strings.Contains(text, away.Error()) || !strings.Contains(text, tt.warning) {
				t.Errorf("warnings %q, want %q in them", text, tt.warning)
			}
			if rev := b.newest(t); rev.Images[0].Digest != tt.digest {
				t.Errorf("the newest revision has %+v, want the digest %q", rev.Images[0], tt.digest)
			}
		})
	}
}

// A submission of a revision without a digest makes one with it as soon as the registry answers.
func TestImages_ResolvedLater(t *testing.T) {
	b := newImageBench(t)
	b.registries.Fail("", errors.New("away"))
	b.submit(t, request(docker(web)))
	if rev := b.newest(t); rev.Images[0].Digest != "" || rev.Images[0].Warning == "" || image(t, rev, "web") != web {
		t.Errorf("unresolved: %+v", rev.Images)
	}
	b.registries.Fail("", nil)
	got := b.submit(t, request(docker(web))).Services[0]
	if !got.NewRevision || len(got.Warnings) > 0 || got.Moved[0].Before != "" || !strings.Contains(got.Moved[0].String(), "was not resolved before") {
		t.Errorf("resolved: %+v", got)
	}
}

func TestImages_RequireRefusesAtTheLineAndLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		name, source string
		fail         error
		texts        []string
	}{
		{"registry away", docker(web, `resolve_images = "require"`), errors.New("does not answer"), []string{"a.hcl:9,17", `has no digest, which resolve_images = "require" asks for: does not answer`}},
		{"known at the start only", docker("$${NOMAD_META_image}", `resolve_images = "require"`), nil, []string{"a.hcl:9,17", "only when the task starts"}},
		{"another driver", withDriver("containerd-driver", web, `resolve_images = "require"`), nil, []string{"a.hcl:9,17", "containerd-driver"}},
		{"a short name of podman", withDriver("podman", "web:1.4", `resolve_images = "require"`), nil, []string{"a.hcl:9,17", "registries.conf"}},
		{"a file of podman", withDriver("podman", "oci-archive:/srv/web.tar", `resolve_images = "require"`), nil, []string{"a.hcl:9,17", "file or directory of the node"}},
		{"an image of the node", docker("localhost/acme/web:1.4", `resolve_images = "require"`), nil, []string{"a.hcl:9,17", "images that the node has"}},
		{"no name", docker("Web", `resolve_images = "require"`), nil, []string{"a.hcl:9,17", "can't be read"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newImageBench(t)
			b.registries.Fail("", tt.fail)
			_ = b.refused(t, request(tt.source), 422, tt.texts...)
			b.untouched(t)
		})
	}
	t.Run("an earlier answer does not count", func(t *testing.T) {
		b := newImageBench(t)
		b.submit(t, request(docker(web, `resolve_images = "require"`)))
		b.registries.Fail("", errors.New("does not answer"))
		_ = b.refused(t, request(docker(web, `resolve_images = "require"`)), 422, "does not answer")
	})
}

func TestImages_NothingToAsk(t *testing.T) {
	pinned := "reg.example/web@" + admissiontest.Digest("v9")
	for _, tt := range []struct {
		name, source, digest, warning string
	}{
		{"off", docker(web, `resolve_images = "off"`), "", ""},
		{"a digest stays", docker(pinned, `resolve_images = "require"`), admissiontest.Digest("v9"), ""},
		{"an ID stays", docker(admissiontest.Digest("v9"), `resolve_images = "require"`), "", ""},
		{"an image of the node", docker("localhost/acme/web:1.4"), "", ""},
		{"a variable of Nomad's", docker("$${NOMAD_META_image}"), "", "only when the task starts"},
		{"another driver", withDriver("containerd-driver", web), "", `driver "containerd-driver"`},
		{"another driver, by digest", withDriver("containerd-driver", pinned, `resolve_images = "require"`), admissiontest.Digest("v9"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newImageBench(t)
			got := b.submit(t, request(tt.source)).Services[0]
			if text := strings.Join(got.Warnings, "\n"); (tt.warning == "") != (text == "") || !strings.Contains(text, tt.warning) {
				t.Errorf("warnings %q, want %q", text, tt.warning)
			}
			if asked := b.registries.Asked(); len(asked) > 0 {
				t.Errorf("asked about %v", asked)
			}
			if rev := b.newest(t); rev.Images[0].Digest != tt.digest || image(t, rev, "web") != rev.Images[0].Name {
				t.Errorf("images %+v, job %s", rev.Images, image(t, rev, "web"))
			}
		})
	}
}

// What the setting was changed to decides what the next revision runs; the change itself
// makes no revision.
func TestImages_ChangesOfTheSetting(t *testing.T) {
	set := func(mode string) string { return docker(web, "resolve_images = "+mode) }
	b := newImageBench(t)
	for _, step := range []struct {
		mode, revision, job string
	}{
		{`"off"`, "shop-00001", web},
		{`"try"`, "shop-00002", web + "@" + admissiontest.Digest("v1")},
		{`"require"`, "shop-00002", web + "@" + admissiontest.Digest("v1")},
		{`"off"`, "shop-00003", web},
		{`"off"`, "shop-00003", web},
		{`"require"`, "shop-00004", web + "@" + admissiontest.Digest("v1")},
		{`"try"`, "shop-00004", web + "@" + admissiontest.Digest("v1")},
	} {
		b.submit(t, request(set(step.mode)))
		if rev := b.newest(t); rev.ID != step.revision || image(t, rev, "web") != step.job {
			t.Errorf("%s: %s runs %s, want %s and %s", step.mode, rev.ID, image(t, rev, "web"), step.revision, step.job)
		}
	}
}

// A revision of a Wadi before digests gets one with a digest when its file is applied again.
func TestImages_AfterAnUpgrade(t *testing.T) {
	b := newImageBench(t)
	old, err := admissiontest.New(b.nomad, b.store, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Submit(t.Context(), request(docker(web))); err != nil {
		t.Fatal(err)
	}
	if rev := b.newest(t); len(rev.Images) > 0 {
		t.Fatalf("images %+v", rev.Images)
	}
	got := b.submit(t, request(docker(web))).Services[0]
	if !got.NewRevision || len(got.Moved) != 1 || !strings.Contains(got.Moved[0].String(), "was not resolved before") {
		t.Errorf("outcome %+v", got)
	}
}

func TestImages_AFailedRevisionIsTriedAgainWithItsDigest(t *testing.T) {
	b := newImageBench(t)
	b.submit(t, request(docker(web)))
	b.store.SetState("shop", wadi.State{Revisions: map[string]wadi.RevisionState{"shop-00001": {Phase: wadi.Failed}}})
	if got := b.submit(t, request(docker(web))).Services[0]; got.NewRevision || !slices.Equal(got.Retried, []string{"shop-00001"}) {
		t.Errorf("outcome %+v", got)
	}
	b.registries.Push(web, "v2") // Mended, under the same tag.
	if got := b.submit(t, request(docker(web))).Services[0]; !got.NewRevision || len(got.Retried) > 0 {
		t.Errorf("outcome %+v", got)
	}
}

func TestImages_OfPodmanHaveNoTagBesideTheDigest(t *testing.T) {
	b := newImageBench(t)
	b.submit(t, request(withDriver("podman", "docker://"+web)))
	if got, want := image(t, b.newest(t), "web"), "docker://reg.example/web@"+admissiontest.Digest("v1"); got != want {
		t.Errorf("the job has %s, want %s", got, want)
	}
}
