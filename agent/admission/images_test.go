package admission_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/admission/rules"
	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/api"
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

// Tasks of all services with the same image are one question, and each task has its own digest.
func TestImages_OneQuestionForEachName(t *testing.T) {
	b := newImageBench(t)
	b.registries.Push("docker.io/library/log:latest", "log")
	two := strings.Replace(docker(web), "\n  }\n}", `
    task "log" {
      driver = "docker"
      lifecycle {
        hook = "prestart"
      }
      config {
        image = "log"
      }
    }
  }
}`, 1)
	b.submit(t, request(two, strings.Replace(two, `"shop"`, `"other"`, 1)))
	if diff := cmp.Diff(map[string]int{web: 1, "docker.io/library/log:latest": 1}, b.registries.Asked()); diff != "" {
		t.Errorf("questions (-want +got):\n%s", diff)
	}
	rev := b.newest(t)
	if got := image(t, rev, "log"); got != "log@"+admissiontest.Digest("log") {
		t.Errorf("the sidecar runs %s", got)
	}
	if got := image(t, rev, "web"); got != web+"@"+admissiontest.Digest("v1") {
		t.Errorf("the app runs %s", got)
	}
}

func TestImages_TooManyAreRefused(t *testing.T) {
	b := newImageBench(t)
	var tasks string
	for i := range 99 {
		tasks += fmt.Sprintf("task \"t%d\" {\n driver = \"docker\"\n lifecycle {\n }\n config {\n image = \"reg.example/web:%d\"\n }\n }\n", i, i)
	}
	many := strings.Replace(docker(web), "instance {", "instance {\n"+tasks, 1)
	other := strings.NewReplacer(`"shop"`, `"other"`, "reg.example", "reg2.example").Replace(many)
	_ = b.refused(t, request(many, other), 413, "200 different images, at most 100")
	_ = b.refused(t, request(strings.Replace(many, "instance {", "instance {\n"+strings.ReplaceAll(tasks, `task "t`, `task "u`), 1)), 413, "199 tasks with images, at most 100")
	if asked := b.registries.Asked(); len(asked) > 0 {
		t.Errorf("%d were asked", len(asked))
	}
	b.untouched(t)
}

// A caller without the right to submit has no registry asked, and images that the cluster
// does not allow have theirs not asked.
func TestImages_RightsAndRulesComeFirst(t *testing.T) {
	b := newImageBench(t)
	b.nomad.Allow("alice", admissiontest.Grant{})
	if _, err := b.Submit(t.Context(), request(docker(web))); !errors.Is(err, wadi.ErrForbidden) {
		t.Errorf("error %v", err)
	}
	b = newImageBench(t)
	allowed, err := rules.ParseImage("ghcr.io/acme/**@sha256:*")
	if err != nil {
		t.Fatal(err)
	}
	b.set(func(s *admission.Settings) { s.Rules = rules.Rules{Images: []rules.Image{allowed}} })
	_ = b.refused(t, request(docker(web)), 422, "a.hcl:9,17", "the image reg.example/web:1.4 is not allowed")
	if asked := b.registries.Asked(); len(asked) > 0 {
		t.Errorf("asked about %v", asked)
	}
	b.registries.Push("ghcr.io/acme/web:1", "v1")
	b.submit(t, request(docker("ghcr.io/acme/web:1"))) // By the digest that it gets.
}

// The agent's own tasks have digests where their names have registries. They make no
// revision by themselves, and warn no caller.
func TestImages_OfTheAgentsOwnTasks(t *testing.T) {
	b := newImageBench(t)
	own := func(image string) {
		b.set(func(s *admission.Settings) {
			s.Agent.QueueProxyTask = json.RawMessage(`{"Driver": "docker", "Config": {"image": "` + image + `"}}`)
		})
	}
	allowed, err := rules.ParseImage("reg.example/web")
	if err != nil {
		t.Fatal(err)
	}
	b.set(func(s *admission.Settings) { s.Rules = rules.Rules{Images: []rules.Image{allowed}} }) // For users.
	own("reg.example/queue-proxy:0.1")
	b.registries.Push("reg.example/queue-proxy:0.1", "qp1")
	b.submit(t, request(docker(web)))
	if got := image(t, b.newest(t), wadi.TaskQueueProxy); got != "reg.example/queue-proxy:0.1@"+admissiontest.Digest("qp1") {
		t.Errorf("the queue-proxy runs %s", got)
	}
	b.registries.Push("reg.example/queue-proxy:0.1", "qp2")
	b.registries.Asked()
	if got := b.submit(t, request(docker(web))).Services[0]; got.Changed {
		t.Errorf("outcome %+v", got)
	}
	if asked := b.registries.Asked(); asked["reg.example/queue-proxy:0.1"] > 0 {
		t.Errorf("asked about %v, though there is no new revision", asked)
	}
	own("wadi/queue-proxy:0.1")
	got := b.submit(t, request(docker(web, "port = 8081", `resolve_images = "require"`))).Services[0]
	if rev := b.newest(t); image(t, rev, wadi.TaskQueueProxy) != "wadi/queue-proxy:0.1" || len(got.Warnings) > 0 || len(got.Moved) > 0 {
		t.Errorf("job %s, outcome %+v", rev.Job, got)
	}
	if asked := slices.Sorted(maps.Keys(b.registries.Asked())); slices.Contains(asked, "docker.io/wadi/queue-proxy:0.1") {
		t.Errorf("asked about %v", asked)
	}
}

// While a registry is slow the submission does not count as evaluated, and its wait ends.
func TestImages_ASlowRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newImageBench(t)
		began := b.registries.Hang()
		evaluating := make(chan struct{}, 1)
		r := request(docker(web))
		r.Evaluate = func() (context.Context, error) { evaluating <- struct{}{}; return t.Context(), nil }
		r.Pause = func() { <-evaluating }
		done := make(chan api.Submitted, 1)
		go func() {
			out, err := b.Submit(t.Context(), r)
			if err != nil {
				t.Error(err)
			}
			done <- out
		}()
		<-began
		evaluating <- struct{}{} // Another submission is evaluated meanwhile.
		<-evaluating
		out := <-done
		if text := strings.Join(out.Services[0].Warnings, "\n"); !strings.Contains(text, "did not answer within 30s") {
			t.Errorf("warnings %q", text)
		}
		if len(evaluating) != 1 {
			t.Error("the rest was done without being evaluated")
		}
	})
}

func TestImages_ACallerThatGoesAwayLeavesNothing(t *testing.T) {
	b := newImageBench(t)
	began := b.registries.Hang()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if _, err := b.Submit(ctx, request(docker(web))); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	b.untouched(t)
}

// Envoy's image gets its digest too, where the agent sets the task that runs it.
func TestImages_OfEnvoy(t *testing.T) {
	b := newImageBench(t)
	b.registries.Push("reg.example/envoy:v1.36", "envoy")
	b.set(func(s *admission.Settings) {
		s.Agent.SidecarTask = json.RawMessage(`{"Driver": "docker", "Config": {"image": "reg.example/envoy:v1.36"}}`)
	})
	b.submit(t, request(strings.NewReplacer(`mesh    = "off"`, "", `network = "host"`, "").Replace(docker(web))))
	var job struct {
		Meta       map[string]string
		TaskGroups []struct {
			Services []struct {
				Connect *struct {
					SidecarTask struct{ Config struct{ Image string } }
				}
			}
		}
	}
	if err := json.Unmarshal(b.newest(t).Job, &job); err != nil {
		t.Fatal(err)
	}
	if got := job.TaskGroups[0].Services[0].Connect.SidecarTask.Config.Image; got != "reg.example/envoy:v1.36@"+admissiontest.Digest("envoy") {
		t.Errorf("Envoy runs %s", got)
	}
	if _, ok := job.Meta["wadi_image_connect-proxy-shop"]; ok {
		t.Errorf("the agent's own image is in the meta, which plans show: %v", job.Meta)
	}
}

// A service of an earlier Wadi, which had no such setting, is as it was when it is applied
// again.
func TestImages_TheSettingIsNewAndNoChange(t *testing.T) {
	b := newImageBench(t)
	b.submit(t, request(spec("hello", "/bin/a")))
	stored, index, err := b.store.Spec(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	stored.Service.ResolveImages = ""
	if _, err := b.store.Submit(t.Context(), []wadi.Submission{{Spec: stored, Index: index}}); err != nil {
		t.Fatal(err)
	}
	if got := b.submit(t, request(spec("hello", "/bin/a"))).Services[0]; got.Changed {
		t.Errorf("outcome %+v", got)
	}
}

// What a mutating webhook makes of an image is what the registry is asked about; a
// validating webhook gets the digest, and a schema says how.
func TestImages_AndWebhooks(t *testing.T) {
	b := newImageBench(t)
	b.registries.Push("mirror.example/web:1.4", "mirrored")
	mutate := b.with(t, webhook.Config{Name: "mirror", Mutate: true, Require: true},
		patch(`{"op": "replace", "path": "/instance/Tasks/0/Config/image", "value": "mirror.example/web:1.4"}`))
	judge := b.with(t, webhook.Config{Name: "judge", Require: true}, `{"allowed": true}`)
	b.submit(t, request(docker(web)))
	if diff := cmp.Diff(map[string]int{"mirror.example/web:1.4": 1}, b.registries.Asked()); diff != "" {
		t.Errorf("questions to registries (-want +got):\n%s", diff)
	}
	published := schema(t, "admission-request.json")
	var got []string
	for _, question := range append(mutate.questions(), judge.questions()...) {
		if err := valid(t, published, question); err != nil {
			t.Error(err)
		}
		var q struct{ Images json.RawMessage }
		if err := json.Unmarshal([]byte(question), &q); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(q.Images))
	}
	want := []string{"null", fmt.Sprintf(`[{"task":"web","name":"mirror.example/web:1.4","digest":%q}]`, admissiontest.Digest("mirrored"))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("webhooks get (-want +got):\n%s", diff)
	}
}
