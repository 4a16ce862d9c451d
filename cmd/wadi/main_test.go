package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// bench is an agent's API with fakes, whose leader follows a script.
type bench struct {
	registries *admissiontest.Registries
	*httptest.Server
	nomad  *admissiontest.Nomad
	store  *admissiontest.Store
	events *control.Events

	reports   []wadi.AgentReport // What the agents find about themselves.
	decisions decisionList

	mu     sync.Mutex
	script []func() // The steps before the next reads of a service.
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{nomad: &admissiontest.Nomad{}, store: &admissiontest.Store{}, events: &control.Events{}, decisions: decisionList{}, registries: &admissiontest.Registries{}}
	adm, err := admissiontest.WithRegistries(b.nomad, b.store, nil, b.registries)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{
		Self: api.Self{Name: "one", Version: "test"}, Admission: adm, Store: b.store, Rights: b.nomad,
		Events: b.events, Decisions: b.decisions, Settings: server.Settings{MaxInstances: 20, MaxSpecBytes: admissiontest.MaxBytes},
		Doctor: func(context.Context, string) []wadi.AgentReport { return b.reports },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1/service/") {
			b.step()
		}
		s.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *bench) step() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.script) > 0 {
		b.script[0]()
		b.script = b.script[1:]
	}
}

// then adds a step to the script.
func (b *bench) then(steps ...func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script = append(b.script, steps...)
}

// status is a step that stores a status.
func (b *bench) status(st wadi.Status) func() { return func() { b.store.SetStatus(st) } }

// decisionList are the leader's decisions, by revision.
type decisionList map[string][]wadi.Decision

func (d decisionList) Of(revision string) []wadi.Decision { return d[revision] }

// output is the result of a command.
type output struct {
	code           int
	stdout, stderr string
}

// wadi calls the command line with this agent as WADI_ADDR.
func (b *bench) wadi(t *testing.T, args ...string) output {
	t.Helper()
	return b.wadiIn(t.Context(), "", []string{"WADI_ADDR=" + b.URL}, args...)
}

func (b *bench) wadiIn(ctx context.Context, stdin string, env []string, args ...string) output {
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(stdin), &stdout, &stderr, env)
	return output{code, stdout.String(), stderr.String()}
}

// want compares code and both outputs.
func (o output) want(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if diff := cmp.Diff(output{code, stdout, stderr}, o.normal(), cmp.AllowUnexported(output{})); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

var (
	took    = regexp.MustCompile(`\(\d+\.\ds\)`)
	address = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	tempDir = regexp.MustCompile(`/\S*/(\w+\.hcl)`)
	years   = regexp.MustCompile(`\b\d+d\b( *)`)
)

// normal leaves out what changes from run to run.
func (o output) normal() output {
	for _, s := range []*string{&o.stdout, &o.stderr} {
		*s = took.ReplaceAllString(*s, "(TIME)")
		*s = address.ReplaceAllString(*s, "ADDRESS")
		*s = tempDir.ReplaceAllString(*s, "$1")
		*s = years.ReplaceAllString(*s, "AGE ")
	}
	return o
}

// golden compares standard output with a file in testdata.
func (o output) golden(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	got := o.normal().stdout
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

const hello = `variable "command" {
  type    = string
  default = "/bin/a"
}
service "hello" {
  mesh    = "off"
  network = "host"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = var.command
      }
    }
  }
}
`

// file writes a file into a new directory.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hello.hcl")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pending(reason string) wadi.Status {
	return wadi.Status{Service: "hello", Generation: 1, Phase: "pending",
		Revisions: []wadi.RevisionStatus{{ID: "hello-00001", Phase: wadi.Pending, Reason: reason, Created: admissiontest.Now}}}
}

func ready() wadi.Status {
	at := time.Unix(admissiontest.Now, 0)
	return wadi.Status{Service: "hello", Generation: 1, Phase: "ready", URL: "http://hello.wadi.localhost:8080",
		Traffic:    []wadi.TargetStatus{{Revision: "hello-00001", Percent: 100}},
		Revisions:  []wadi.RevisionStatus{{ID: "hello-00001", Phase: wadi.Ready, Percent: 100, Created: admissiontest.Now}},
		Conditions: []wadi.Condition{{Type: "Ready", OK: true, Since: at}, {Type: "Mesh", Reason: "Off", Message: "mesh is\noff", Since: at}},
		Events:     []wadi.Event{{Time: at, Service: "hello", Revision: "hello-00001", Type: "Ready", Message: "ready after 1.2s"}}}
}

func nothing() {}

func TestApply_ShowsProgressUntilReady(t *testing.T) {
	b := newBench(t)
	b.then(nothing, b.status(pending("no node has raw_exec")), nothing, b.status(pending("starting")), b.status(ready()))
	b.wadi(t, "apply", file(t, hello)).want(t, 0, `hello: pending, waiting for the leader to start on it
hello: pending, hello-00001: no node has raw_exec
hello: pending, hello-00001: starting
hello: ready, hello-00001, http://hello.wadi.localhost:8080 (TIME)
`, "")
	b.wadi(t, "apply", file(t, hello)).want(t, 0, "hello: ready, hello-00001, http://hello.wadi.localhost:8080 (TIME)\n", "")
}

func TestApply_SaysWhyItFailed(t *testing.T) {
	failed := pending("image nginx:1.99 not found")
	failed.Revisions[0].Phase, failed.Phase = wadi.Failed, "failed"
	for _, tt := range []struct {
		name   string
		step   func(b *bench) func()
		stderr string
	}{
		{"revision", func(b *bench) func() { return b.status(failed) },
			"hello: failed, hello-00001: image nginx:1.99 not found\n"},
		{"deleted", func(b *bench) func() { return func() { _ = b.store.MarkDeleting(t.Context(), "hello", 1) } },
			"hello: deleting, it was deleted meanwhile\n"},
		{"gone before anybody saw it", func(b *bench) func() { return func() { b.store.Forget("hello") } },
			"It was submitted, but whether it becomes ready can't be seen: it was deleted meanwhile, or this token may not read it.\nError: service hello: not found\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.then(tt.step(b))
			b.wadi(t, "apply", file(t, hello)).want(t, 1, "", tt.stderr)
		})
	}
}

func TestApply_JSONOnly(t *testing.T) {
	b := newBench(t)
	b.then(nothing, b.status(ready()))
	o := b.wadi(t, "apply", "-json", file(t, hello))
	o.golden(t, "apply.json")
	if o.code != 0 || o.stderr != "" || !json.Valid([]byte(o.stdout)) {
		t.Errorf("got %+v", o)
	}
	o = b.wadi(t, "apply", "-json", file(t, strings.Replace(hello, "mesh ", "colour = 1\n  mesh ", 1)))
	o.golden(t, "apply_refused.json")
	if o.code != 1 || o.stderr != "" || !json.Valid([]byte(o.stdout)) {
		t.Errorf("got %+v", o)
	}
}

func TestApply_ListsEveryMistake(t *testing.T) {
	b := newBench(t)
	bad := strings.Replace(hello, "mesh ", "colour = 1\n  port = 99999\n  mesh ", 1)
	o := b.wadi(t, "apply", file(t, bad)).normal()
	if o.code != 1 || o.stdout != "" {
		t.Errorf("got %+v", o)
	}
	for _, want := range []string{"Error: bad input\n", "\nhello.hcl:6,3: colour: ", "\nhello.hcl:7,10: port: "} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("%q is missing in:\n%s", want, o.stderr)
		}
	}
}

func TestApply_CtrlC(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.then(nothing, cancel)
	o := b.wadiIn(ctx, hello, nil, "apply", "-address", b.URL, "-")
	if o.code != 1 || !strings.Contains(o.stderr, "services stay submitted") || !strings.Contains(o.stderr, "wadi service status hello") {
		t.Errorf("got %+v", o)
	}
	if names, _ := b.store.Services(t.Context()); len(names) != 1 {
		t.Errorf("stored: %v", names)
	}
}

func TestApply_CheckIndex(t *testing.T) {
	b := newBench(t)
	path := file(t, hello)
	b.wadi(t, "apply", "-detach", "-check-index", "0", path).want(t, 0, "hello: submitted, new revision hello-00001\n", "")
	b.wadi(t, "apply", "-detach", "-check-index", "0", path).want(t, 1, "",
		"Error: conflict with what is stored\nhello.hcl:5,1: check_index is 0, but the stored index is 1 (0: not stored); read it again\n")
	if o := b.wadi(t, "apply", "-check-index", "x", path); o.code != 2 {
		t.Errorf("got %+v", o)
	}
}

func TestApply_Variables(t *testing.T) {
	b := newBench(t)
	vars := filepath.Join(t.TempDir(), "vars.hcl")
	if err := os.WriteFile(vars, []byte("command = \"/from/file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"WADI_ADDR=" + b.URL, "WADI_VAR_command=/from/env", "WADI_VAR_unrelated=x"}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "/from/env"},
		{[]string{"-var-file", vars}, "/from/file"},
		{[]string{"-var-file", vars, "-var", "command=/from/flag=1"}, "/from/flag=1"},
	} {
		o := b.wadiIn(t.Context(), hello, env, append(append([]string{"apply", "-detach"}, tt.args...), "-")...)
		spec, _, err := b.store.Spec(t.Context(), "hello")
		if o.code != 0 || err != nil || spec.Variables["command"] != tt.want || len(spec.Variables) != 1 {
			t.Errorf("%v: %+v, variables %v, %v", tt.args, o, spec.Variables, err)
		}
	}
	if o := b.wadi(t, "apply", "-var", "nothing", file(t, hello)); o.code != 2 {
		t.Errorf("got %+v", o)
	}
	if o := b.wadi(t, "apply", "-var", "other=1", file(t, hello)); o.code != 1 || !strings.Contains(o.stderr, `"other"`) {
		t.Errorf("got %+v", o)
	}
}
