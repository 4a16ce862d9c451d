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
