package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
)

// bench is a server with a real admission among stand-ins.
type bench struct {
	*httptest.Server
	nomad  *admissiontest.Nomad
	store  *admissiontest.Store
	events *events
	log    *logBuffer
}

// newBench starts one; change, if not nil, may change its configuration before.
func newBench(t *testing.T, change func(*server.Config)) bench {
	t.Helper()
	b, s := newUnserved(t, change)
	b.Server = httptest.NewServer(s.Handler())
	t.Cleanup(b.Close)
	return b
}

// newUnserved makes one that listens nowhere.
func newUnserved(t *testing.T, change func(*server.Config)) (bench, *server.Server) {
	t.Helper()
	b := bench{nomad: &admissiontest.Nomad{}, store: &admissiontest.Store{}, events: &events{}, log: &logBuffer{}}
	adm, err := admissiontest.New(b.nomad, b.store, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := server.Config{
		Self: api.Self{Name: "one", Version: "test"}, Admission: adm, Store: b.store, Rights: b.nomad,
		Events: b.events, Decisions: decisions{}, Settings: server.Settings{MaxSpecBytes: admissiontest.MaxBytes},
		Log: hclog.New(&hclog.LoggerOptions{Output: b.log, Level: hclog.Trace}),
	}
	if change != nil {
		change(&c)
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b, s
}

const hello = `service "hello" {
  mesh    = "off"
  network = "host"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "/bin/a"
      }
    }
  }
}
`

// submission is the body that submits sources.
func submission(sources ...string) string {
	type file struct {
		Name   string `json:"name"`
		Source string `json:"source"`
	}
	var files []file
	for i, s := range sources {
		files = append(files, file{fmt.Sprintf("%c.hcl", 'a'+i), s})
	}
	b, _ := json.Marshal(map[string]any{"files": files})
	return string(b)
}

type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; header holds pairs.
func (b bench) ask(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

// want sends a request and wants a status and texts in the body.
func (b bench) want(t *testing.T, status int, method, path, body string, texts ...string) answer {
	t.Helper()
	a := b.ask(t, method, path, body)
	a.want(t, status, texts...)
	return a
}

func (a answer) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("%q is missing in %s", text, a.body)
		}
	}
	if ct := a.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
	if !json.Valid([]byte(a.body)) {
		t.Errorf("no JSON: %s", a.body)
	}
}

type decisions struct{}

func (decisions) Of(revision string) []wadi.Decision {
	return []wadi.Decision{{Revision: revision, Reason: "because"}}
}

// events is the log of the agent, in small.
type events struct{ control.Events }

func (e *events) add(ev wadi.Event) { e.Add(ev.Service, ev.Revision, ev.Type, ev.Message) }

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestServer_LifeOfAService(t *testing.T) {
	b := newBench(t, nil)
	b.want(t, 200, "GET", "/v1/services", "", "[]")
	b.want(t, 200, "POST", "/v1/services/validate", submission(hello), `"revision":"hello-00001"`)
	b.want(t, 404, "GET", "/v1/service/hello", "", "not found")
	b.want(t, 200, "PUT", "/v1/services", submission(hello), `"index":1`, `"new_revision":true`)
	b.want(t, 200, "GET", "/v1/services", "", `"name":"hello"`, `"phase":"pending"`)
	b.store.SetStatus(wadi.Status{Service: "hello", Generation: 1, Phase: "ready", URL: "http://hello.test",
		Revisions: []wadi.RevisionStatus{{ID: "hello-00001", Phase: wadi.Ready, Percent: 100}}})
	b.want(t, 200, "GET", "/v1/service/hello", "", `"phase":"ready"`, `"index":1`, `"url":"http://hello.test"`, `"file":"a.hcl"`)
	b.want(t, 200, "GET", "/v1/service/hello/revisions", "", `"id":"hello-00001"`, `"phase":"ready"`, `"percent":100`)
	b.want(t, 200, "GET", "/v1/revision/hello-00001", "", `"job":{`, `"spec":{`)
	b.want(t, 404, "GET", "/v1/revision/hello-00002", "")
	b.want(t, 200, "GET", "/v1/service/hello/decisions", "", `"reason":"because"`)
	b.want(t, 409, "DELETE", "/v1/service/hello?index=7", "", "stored index is 1")
	b.want(t, 400, "DELETE", "/v1/service/hello?wait=soon", "")
	b.want(t, 202, "DELETE", "/v1/service/hello", "", `"deleting":true`)
	b.want(t, 202, "DELETE", "/v1/service/hello?wait=10ms", "", `"gone":false`)
	b.want(t, 200, "GET", "/v1/service/hello", "", `"phase":"deleting"`)
	b.store.Forget("hello")
	b.want(t, 404, "DELETE", "/v1/service/hello", "")
}

// The secret of activators is not shown.
func TestServer_NoProofs(t *testing.T) {
	b := newBench(t, nil)
	b.want(t, 200, "PUT", "/v1/services", submission(hello), `"index":1`)
	all, err := b.store.Revisions(t.Context(), "hello")
	if err != nil || len(all) != 1 || all[0].Proof == "" {
		t.Fatalf("stored are %+v, %v", all, err)
	}
	proof := string(all[0].Proof)
	b.store.SetRoute(wadi.Route{Service: "hello", Revisions: map[string]wadi.RouteRevision{"hello-00001": {Proof: all[0].Proof}}})
	for _, path := range []string{"/v1/service/hello", "/v1/service/hello/revisions", "/v1/revision/hello-00001", "/v1/services"} {
		if body := b.want(t, 200, "GET", path, "", "hello").body; strings.Contains(body, proof) {
			t.Errorf("GET %s tells it: %s", path, body)
		}
	}
	if all, err = b.store.Revisions(t.Context(), "hello"); err != nil || string(all[0].Proof) != proof {
		t.Errorf("afterwards stored is %q, %v", string(all[0].Proof), err)
	}
}

func TestServer_AgentPaths(t *testing.T) {
	problems := []string(nil)
	b := newBench(t, func(c *server.Config) { c.Problems = func() []string { return problems } })
	b.want(t, 200, "GET", "/v1/agent/health", "", `"ok":true`)
	problems = []string{"Nomad does not answer"}
	b.want(t, 503, "GET", "/v1/agent/health", "", "Nomad does not answer")
	b.want(t, 200, "GET", "/v1/agent/self", "", `"name":"one"`, `"leader":true`)
	b.want(t, 200, "GET", "/v1/status/leader", "", `"name":"one"`)
}

func TestServer_Errors(t *testing.T) {
	for _, tt := range []struct {
		name               string
		prepare            func(b bench)
		method, path, body string
		status             int
		texts              []string
	}{
		{"unknown path", nil, "GET", "/v2/services", "", 404, []string{"no such path"}},
		{"wrong method", nil, "POST", "/v1/services", "", 405, []string{"PUT"}},
		{"empty body", nil, "PUT", "/v1/services", "", 400, []string{"empty"}},
		{"no JSON", nil, "PUT", "/v1/services", "service \"x\" {}", 400, nil},
		{"unknown key", nil, "PUT", "/v1/services", `{"files": [], "fiels": []}`, 400, []string{"fiels"}},
		{"unknown key inside", nil, "PUT", "/v1/services", `{"files": [{"name": "a", "source": "", "mode": 1}]}`, 400, []string{"mode"}},
		{"wrong type", nil, "PUT", "/v1/services", `{"files": "hello.hcl"}`, 400, nil},
		{"negative index", nil, "PUT", "/v1/services", `{"check_index": {"a": -1}}`, 400, nil},
		{"two values", nil, "PUT", "/v1/services", submission(hello) + "{}", 400, []string{"more than one"}},
		{"rest is no JSON", nil, "PUT", "/v1/services", submission(hello) + "x", 400, nil},
		{"deep JSON", nil, "PUT", "/v1/services", `{"files": ` + strings.Repeat("[", 20000), 400, nil},
		{"deep JSON in a known key", nil, "PUT", "/v1/services", `{"files": [{"source": ` + strings.Repeat(`{"a":`, 20000), 400, nil},
		{"body too large", nil, "PUT", "/v1/services", submission(strings.Repeat("#", 300<<10)), 413, []string{"196608"}},
		{"files too large", nil, "PUT", "/v1/services", submission(strings.Repeat("#", 65<<10)), 413, []string{"limits.max_spec_bytes is 65536"}},
		{"bad HCL", nil, "PUT", "/v1/services", submission("service {"), 400, []string{`"file":"a.hcl"`, `"line":1`}},
		{"Nomad away", func(b bench) { b.nomad.Fail(wadi.ErrUnavailable) }, "PUT", "/v1/services", submission(hello), 503, []string{"unavailable"}},
		{"store away", func(b bench) { b.store.Fail(wadi.ErrUnavailable) }, "PUT", "/v1/services", submission(hello), 503, []string{"unavailable"}},
		{"store away, list", func(b bench) { b.store.Fail(wadi.ErrUnavailable) }, "GET", "/v1/services", "", 503, nil},
		{"conflict", func(b bench) { b.store.OnSubmit = func() error { return wadi.ErrConflict } }, "PUT", "/v1/services", submission(hello), 409,
			[]string{"try again"}},
		{"too large for the store", func(b bench) { b.store.OnSubmit = func() error { return wadi.ErrTooLarge } }, "PUT", "/v1/services", submission(hello), 413, nil},
		{"unknown failure", func(b bench) { b.store.OnSubmit = func() error { return io.ErrUnexpectedEOF } }, "PUT", "/v1/services", submission(hello), 500, nil},
		{"domain refused", nil, "PUT", "/v1/services", submission(strings.Replace(hello, "mesh ", "domains = [\"x.wadi.localhost\"]\n  mesh ", 1)), 422, []string{"kept for"}},
		{"name that climbs", nil, "GET", "/v1/service/..%2Fspec%2Fhello", "", 404, nil},
		{"name with a slash", nil, "DELETE", "/v1/service/a%2Fb", "", 404, nil},
		{"upper case", nil, "GET", "/v1/service/HELLO", "", 404, nil},
		{"revision that climbs", nil, "GET", "/v1/revision/..%2Fx-00001", "", 404, nil},
		{"revision without number", nil, "GET", "/v1/revision/hello", "", 404, nil},
		{"events of nothing", nil, "GET", "/v1/events?service=hello", "", 404, nil},
		{"no admin", nil, "GET", "/v1/admin/live", "", 404, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil)
			if tt.prepare != nil {
				tt.prepare(b)
			}
			a := b.want(t, tt.status, tt.method, tt.path, tt.body, append(tt.texts, `"error":`)...)
			if tt.status == 503 && a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			if jobs := b.nomad.Jobs(); len(jobs) > 0 {
				t.Errorf("left behind: %v", jobs)
			}
		})
	}
}

func TestServer_EndlessBodyIsCutOff(t *testing.T) {
	b := newBench(t, nil)
	conn, err := net.Dial("tcp", b.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "PUT /v1/services HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunk := []byte(fmt.Sprintf("1000\r\n%s\r\n", strings.Repeat(" ", 4096)))
	sent := 0
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	for sent < 64<<20 {
		n, err := conn.Write(chunk)
		sent += n
		if err != nil {
			break
		}
	}
	if sent >= 64<<20 {
		t.Errorf("the server took %d bytes", sent)
	}
}

func TestServer_ServeStopsWithItsStreams(t *testing.T) {
	_, s := newUnserved(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	began := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
	if took := time.Since(began); took >= 10*time.Second { // The drain's bound.
		t.Errorf("stopping took %s: the stream held it up", took)
	}
}

func TestServer_NoAuthenticationNeedsLoopback(t *testing.T) {
	b := &admissiontest.Nomad{}
	store := &admissiontest.Store{}
	adm, _ := admissiontest.New(b, store, nil)
	s, err := server.New(server.Config{Self: api.Self{Name: "one"}, Auth: wadi.AuthNone, Admission: adm, Store: store, Rights: b})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.Serve(ctx, l); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestNew_Refuses(t *testing.T) {
	if _, err := server.New(server.Config{}); err == nil {
		t.Error("an empty configuration was taken")
	}
	nomad, store := &admissiontest.Nomad{}, &admissiontest.Store{}
	adm, _ := admissiontest.New(nomad, store, nil)
	_, err := server.New(server.Config{Self: api.Self{Name: "one"}, Auth: "nomda", Admission: adm, Store: store, Rights: nomad})
	if diff := cmp.Diff(`server: unknown auth "nomda"`, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
}
