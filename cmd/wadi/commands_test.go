package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

// applied is a bench where hello is ready.
func applied(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	if o := b.wadi(t, "apply", "-detach", file(t, hello)); o.code != 0 {
		t.Fatalf("apply: %+v", o)
	}
	b.store.SetStatus(ready())
	return b
}

func TestTables(t *testing.T) {
	t.Setenv("TZ", "UTC")
	time.Local = time.UTC // Events are shown in local time.
	b := applied(t)
	for name, args := range map[string][]string{
		"service_list.txt":     {"service", "list"},
		"service_list.json":    {"service", "list", "-json"},
		"service_status.txt":   {"service", "status", "hello"},
		"service_inspect.json": {"service", "inspect", "hello"},
		"revision_list.txt":    {"revision", "list", "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.wadi(t, args...)
			if o.code != 0 || o.stderr != "" {
				t.Errorf("got %+v", o)
			}
			o.golden(t, name)
		})
	}
}

// Of traffic to several revisions, each target is shown with its tag's address.
func TestTables_Traffic(t *testing.T) {
	t.Setenv("TZ", "UTC")
	time.Local = time.UTC
	b := applied(t)
	st := ready()
	st.Revisions = append(st.Revisions, wadi.RevisionStatus{ID: "hello-00002", Phase: wadi.Ready, Percent: 33.3, Created: admissiontest.Now})
	st.Revisions[0].Percent = 66.7
	st.Traffic = []wadi.TargetStatus{
		{Revision: "hello-00001", Percent: 66.7},
		{Revision: "hello-00002", Percent: 33.3, Tag: "canary", URL: "http://canary-hello.wadi.localhost:8080"},
		{Revision: "hello-00001", Tag: "old", URL: "http://old-hello.wadi.localhost:8080"},
	}
	b.store.SetStatus(st)
	for name, args := range map[string][]string{
		"traffic_list.txt":   {"service", "list"},
		"traffic_list.json":  {"service", "list", "-json"},
		"traffic_status.txt": {"service", "status", "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.wadi(t, args...)
			if o.code != 0 || o.stderr != "" {
				t.Errorf("got %+v", o)
			}
			o.golden(t, name)
		})
	}
}

func TestServiceList_Empty(t *testing.T) {
	newBench(t).wadi(t, "service", "list").want(t, 0, "No services.\n", "")
}

func TestServiceDelete(t *testing.T) {
	b := applied(t)
	draining := wadi.Status{Service: "hello", Generation: 2, Phase: "deleting",
		Conditions: []wadi.Condition{{Type: "Ready", Message: "3 requests in flight"}}}
	b.then(nothing, b.status(draining), nothing, func() { b.store.Forget("hello") })
	b.wadi(t, "service", "delete", "hello").want(t, 0,
		"hello: deleting, instances are finishing\nhello: deleting, 3 requests in flight\nhello: gone\n", "")
	b.wadi(t, "service", "delete", "hello").want(t, 1, "", "Error: service hello: not found\n")

	b = applied(t)
	b.wadi(t, "service", "delete", "-detach", "hello").want(t, 0, "hello: marked for deletion\n", "")
}

// Only this deletion's leftovers are reported when the service is gone, not those of an
// earlier one.
func TestServiceDelete_LeftBehind(t *testing.T) {
	old := `{"time":"2026-01-01T00:00:00Z","service":"hello","type":"LeftBehind","message":"an old story","index":7}` + "\n"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/events" && r.URL.Query().Get("follow") == "false":
			fmt.Fprint(w, old)
		case r.URL.Path == "/v1/events":
			if r.URL.Query().Get("index") != "7" {
				fmt.Fprint(w, old)
			}
			fmt.Fprint(w, `{"time":"2026-01-02T00:00:00Z","service":"hello","type":"LeftBehind","message":"delete service-splitter hello","index":8}
{"time":"2026-01-02T00:00:01Z","service":"hello","type":"Deleted","message":"gone","index":9}
`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done() // The stream stays open.
		case r.Method == http.MethodDelete:
			fmt.Fprint(w, `{"name":"hello"}`)
		default:
			http.Error(w, `{"error":"not found"}`, http.StatusNotFound)
		}
	}))
	defer srv.Close()
	b := &bench{Server: srv}
	b.wadi(t, "service", "delete", "hello").want(t, 0, "hello: gone\n", "Warning: delete service-splitter hello\n")
}

func TestValidate(t *testing.T) {
	b := newBench(t)
	b.wadi(t, "validate", file(t, hello)).want(t, 0, "hello: good, would make revision hello-00001\n", "")
	if jobs := b.nomad.Jobs(); len(jobs) > 0 {
		t.Errorf("validate registered %v", jobs)
	}
	o := b.wadi(t, "validate", file(t, "service {}"))
	if o.code != 1 || !strings.Contains(o.normal().stderr, "hello.hcl:1,") {
		t.Errorf("got %+v", o)
	}
}

func TestApply_DirectoryIsSplit(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	for i := range 20 {
		source := strings.Replace(hello, `"hello"`, fmt.Sprintf(`"s%d"`, i), 1)
		if i == 19 {
			source = strings.ReplaceAll(source, "command\" {", "other\" {")
			source = strings.ReplaceAll(source, "var.command", "var.other")
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.hcl", i)), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("no HCL"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := b.wadi(t, "apply", "-detach", "-var", "other=/bin/x", dir)
	if o.code != 0 || !strings.Contains(o.stderr, "in 2 parts") || strings.Count(o.stdout, "new revision") != 20 {
		t.Errorf("got %+v", o)
	}
}

func TestEvents(t *testing.T) {
	b := applied(t)
	b.events.Add("hello", "hello-00001", "Scaled", "0 to 1:\nwoken\x1b[31m")
	b.events.Add("hello", "", "Submitted", "generation 1")
	o := b.wadi(t, "events")
	if o.code != 0 || !strings.Contains(o.stdout, "Scaled         hello-00001: 0 to 1: woken[31m\n") || strings.Count(o.stdout, "\n") != 2 {
		t.Errorf("got %+v", o)
	}
	o = b.wadi(t, "events", "-json", "-service", "hello")
	if o.code != 0 || strings.Count(o.stdout, "\n") != 2 || !strings.Contains(o.stdout, `"type":"Submitted"`) {
		t.Errorf("got %+v", o)
	}
	o = b.wadi(t, "events", "-json", "-after", "1")
	if o.code != 0 || strings.Count(o.stdout, "\n") != 1 || !strings.Contains(o.stdout, `"index":2`) {
		t.Errorf("got %+v", o)
	}
	b.wadi(t, "events", "-service", "world").want(t, 1, "", "Error: service world: not found\n")
}

func TestFmt(t *testing.T) {
	ugly := "service \"hello\" {\nport=80\n}\n"
	pretty := "service \"hello\" {\n  port = 80\n}\n"
	b := newBench(t)
	path := file(t, ugly)
	b.wadi(t, "fmt", "-check", path).want(t, 1, "hello.hcl\n", "")
	b.wadi(t, "fmt", "-write=false", path).want(t, 0, pretty, "")
	if got, _ := os.ReadFile(path); string(got) != ugly {
		t.Error("the file was written all the same")
	}
	b.wadi(t, "fmt", path).want(t, 0, "hello.hcl\n", "")
	if got, _ := os.ReadFile(path); string(got) != pretty {
		t.Errorf("got %s", got)
	}
	b.wadi(t, "fmt", path).want(t, 0, "", "")
	b.wadi(t, "fmt", "-check", path).want(t, 0, "", "")
	b.wadiIn(t.Context(), ugly, nil, "fmt", "-").want(t, 0, pretty, "")
	if o := b.wadiIn(t.Context(), "service {", nil, "fmt", "-"); o.code != 1 || !strings.Contains(o.stderr, "<stdin>:1,") || o.stdout != "" {
		t.Errorf("got %+v", o)
	}
}

func TestUsage(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		args string
		code int
		text string
	}{
		{"", 2, "Usage: wadi"},
		{"-h", 0, "Usage: wadi"},
		{"nonsense", 2, `there is no command "wadi nonsense"`},
		{"service", 2, "Subcommands"},
		{"service nonsense", 2, `there is no command "wadi service nonsense"`},
		{"apply", 2, "an argument is missing"},
		{"apply -nonsense x", 2, "-nonsense"},
		{"apply hello.hcl -detach", 2, "flags come first"},
		{"service status", 2, "an argument is missing"},
		{"service status a b", 2, "too many arguments: b"},
		{"service list -address ftp://x", 2, "ftp://x"},
		{"apply - -", 2, "once only"},
		{"apply /nonexistent.hcl", 1, "no such file"},
		{"service list -address 127.0.0.1:1", 1, "Is an agent running there?"},
		{"version", 0, "Wadi "},
		{"-version", 0, "Wadi "},
	} {
		t.Run(tt.args, func(t *testing.T) {
			o := b.wadi(t, strings.Fields(tt.args)...)
			if o.code != tt.code || !strings.Contains(o.stdout+o.stderr, tt.text) {
				t.Errorf("got %+v, want code %d and %q", o, tt.code, tt.text)
			}
		})
	}
	for name := range commands() {
		args := append(strings.Fields(name), "-h")
		if o := b.wadi(t, args...); o.code != 0 || !strings.Contains(o.stdout, "Usage: wadi "+name) || o.stderr != "" {
			t.Errorf("%v: %+v", args, o)
		}
	}
}

func TestTokens(t *testing.T) {
	b := newBench(t)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	o := b.wadi(t, "service", "status", "hello")
	if o.code != 1 {
		t.Errorf("got %+v", o)
	}
	o = b.wadi(t, "apply", "-detach", file(t, hello))
	if o.code != 1 || !strings.Contains(o.stderr, "-token or NOMAD_TOKEN") {
		t.Errorf("got %+v", o)
	}
	o = b.wadi(t, "apply", "-detach", "-token", "alice", file(t, hello))
	if o.code != 0 {
		t.Errorf("got %+v", o)
	}
	env := []string{"WADI_ADDR=" + b.URL, "NOMAD_TOKEN=alice"}
	if o := b.wadiIn(t.Context(), "", env, "service", "list"); !strings.Contains(o.stdout, "hello") {
		t.Errorf("got %+v", o)
	}
	if o := b.wadiIn(t.Context(), "", env, "apply", "-h"); strings.Contains(o.stdout, "alice") {
		t.Errorf("help shows the token: %s", o.stdout)
	}
}
