package jobspecs_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

func revisionOf(s wadi.Service) wadi.Revision {
	return wadi.Revision{ID: wadi.RevisionID(s.Name, 1), Service: s.Name, Number: 1, Spec: s, SpecHash: jobspecs.Hash(s)}
}

func TestRender_SameBytesEveryTime(t *testing.T) {
	s := service()
	before := string(s.Instance)
	first, err := jobspecs.Render(revisionOf(s), testAgent())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := jobspecs.Render(revisionOf(s), testAgent())
		if err != nil || !bytes.Equal(first, again) {
			t.Fatalf("differs: %v", err)
		}
	}
	if string(s.Instance) != before {
		t.Error("Render changed the instance")
	}
	var job api.Job
	if err := json.Unmarshal(first, &job); err != nil {
		t.Fatalf("it is no Nomad job: %v", err)
	}
}

// The shield is for services in the mesh only, and is not in the jobs of an agent without
// it.
func TestRender_Shield(t *testing.T) {
	for _, tt := range []struct {
		mesh   wadi.MeshMode
		shield bool
		want   string
	}{{wadi.MeshEnvoy, true, "true"}, {wadi.MeshEnvoy, false, ""}, {wadi.MeshOff, true, ""}} {
		s, a := service(), testAgent()
		s.Network, s.Mesh, a.Shield = wadi.Bridge, tt.mesh, tt.shield
		data, err := jobspecs.Render(revisionOf(s), a)
		if err != nil {
			t.Fatal(err)
		}
		var job api.Job
		if err := json.Unmarshal(data, &job); err != nil {
			t.Fatal(err)
		}
		for _, task := range job.TaskGroups[0].Tasks {
			want := ""
			if task.Name == wadi.TaskQueueProxy {
				want = tt.want
			}
			if got := task.Env["WADI_SHIELD"]; got != want {
				t.Errorf("mesh %s, shield %t: task %s has WADI_SHIELD=%q, want %q", tt.mesh, tt.shield, task.Name, got, want)
			}
		}
	}
}

func TestRender_Refuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *wadi.Revision, a *jobspecs.Agent)
		want   string
	}{
		{"no instance", func(r *wadi.Revision, _ *jobspecs.Agent) { r.Spec.Instance = nil }, "render a-00001: read instance: EOF"},
		{"other task", func(r *wadi.Revision, _ *jobspecs.Agent) { r.Spec.ServingTask = "x" }, `render a-00001: the instance has no task "x" to serve`},
		{"task is no object", func(r *wadi.Revision, _ *jobspecs.Agent) { r.Spec.Instance = json.RawMessage(`{"Tasks":[1]}`) }, "render a-00001: read instance: a task is no object"},
		{"no queue-proxy", func(_ *wadi.Revision, a *jobspecs.Agent) { a.QueueProxyTask = nil }, "render a-00001: the agent has no queue_proxy task"},
		{"bad queue-proxy", func(_ *wadi.Revision, a *jobspecs.Agent) { a.QueueProxyTask = json.RawMessage("null") }, "render a-00001: read the agent's queue_proxy task: an object is required, got null"},
		{"bad sidecar", func(_ *wadi.Revision, a *jobspecs.Agent) { a.SidecarTask = json.RawMessage(`{"Driver":1}`) }, "render a-00001: read the agent's sidecar task: json: cannot unmarshal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, a := revisionOf(service()), testAgent()
			tt.change(&r, &a)
			_, err := jobspecs.Render(r, a)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestRender_Link(t *testing.T) {
	s := service()
	s.Visibility = wadi.MeshOnly
	data, err := jobspecs.Render(revisionOf(s), testAgent())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("wadi.localhost")) {
		t.Error("a service that the gateway has no route to has a link to it")
	}
}

func TestParseTask(t *testing.T) {
	src := `
driver = "docker"
user   = "nobody"
config {
  image      = "wadi/queue-proxy:0.1"
  privileged = false
  args       = ["-dir", "${NOMAD_TASK_DIR}/x", "${attr.cpu.arch}", upper("a")]
  mount {
    type = "tmpfs"
  }
  mount {
    type = "bind"
  }
}
env {
  GOGC  = 200
  EMPTY = ""
}
resources {
  cpu    = 50
  memory = 64
}
logs {
  disabled  = true
  max_files = 1
}
shutdown_delay = "1s"
artifact {
  source      = "https://example.com/${attr.cpu.arch}/queue-proxy"
  destination = "local/"
  options {
    checksum = "md5:0"
  }
}
`
	got, problems := jobspecs.ParseTask(hclBody(t, src), "queue_proxy")
	if len(problems) > 0 {
		t.Fatal(texts(problems))
	}
	golden(t, "testdata/task.golden", indented(t, got))

	bad := "drivr = \"docker\"\nconfig {\n  x = 1 + \"a\"\n}\nresources {\n  cpu = 0\n}\nartifact {\n}\ntemplate {\n}\n"
	_, problems = jobspecs.ParseTask(hclBody(t, bad), "queue_proxy")
	secret := "driver = \"docker\"\nconfig {\n  image = \"x\"\n  auth {\n    password = \"m4rk3r\"\n  }\n}\nartifact {\n  source = \"https://u:m4rk3r@example.com/x\"\n}\n"
	_, more := jobspecs.ParseTask(hclBody(t, secret), "queue_proxy")
	golden(t, "testdata/task-errors.golden", []byte(texts(problems)+texts(more)))
}

func hclBody(t *testing.T, src string) hcl.Body {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(src), "wadi.hcl", hcl.Pos{Line: 1, Column: 1})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return f.Body
}

// Nomad refuses a task whose end may take longer than its progress deadline, by default 10
// minutes.
func TestRender_LongRequests(t *testing.T) {
	for _, tt := range []struct{ request, want time.Duration }{
		{5 * time.Minute, 0},
		{590 * time.Second, 0},
		{10 * time.Minute, 11*time.Minute + 10*time.Second},
		{time.Hour, time.Hour + time.Minute + 10*time.Second},
	} {
		s := service()
		s.Timeout.Request = wadi.Duration(tt.request)
		data, err := jobspecs.Render(revisionOf(s), testAgent())
		if err != nil {
			t.Fatal(err)
		}
		var job api.Job
		if err := json.Unmarshal(data, &job); err != nil {
			t.Fatal(err)
		}
		var got time.Duration
		if d := job.Update.ProgressDeadline; d != nil {
			got = *d
		}
		if got != tt.want {
			t.Errorf("requests of %s: got a progress deadline of %s, want %s", tt.request, got, tt.want)
		}
	}
}
