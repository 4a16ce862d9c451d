package agent

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/agenttest"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/api"
)

func loaded(t *testing.T, file string) config.Config {
	t.Helper()
	cfg, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return cfg
}

// reloading is an agent, not running, with a configuration file that a test edits.
type reloading struct {
	*Agent
	t    *testing.T
	file string
	log  hclog.Logger
	json bool
}

func newReloading(t *testing.T) *reloading {
	t.Helper()
	file, _ := agenttest.SecureConfig(t, false)
	r := &reloading{t: t, file: file, log: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: io.Discard})}
	a, err := New(t.Context(), loaded(t, file), Deps{
		Log: r.log, AccessLog: io.Discard, LogJSON: func(on bool) { r.json = on },
		Load: func() (config.Config, []wadi.Problem) {
			return config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	r.Agent = a
	return r
}

// edit replaces text in the file, and appends more.
func (r *reloading) edit(more string, replace ...string) {
	r.t.Helper()
	b, err := os.ReadFile(r.file)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.file, []byte(strings.NewReplacer(replace...).Replace(string(b))+more), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloading) reload() api.Reloaded {
	r.t.Helper()
	done, err := r.Reload(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

// Each setting that a reload changes, according to package config, concerns a part of the
// agent, and no part concerns a setting that there is not, or that waits for a restart.
func TestReloadable_IsComplete(t *testing.T) {
	r := newReloading(t)
	claimed := map[string]bool{}
	for _, s := range config.Settings() {
		concerned := false
		for _, p := range r.reloadable() {
			for _, path := range p.paths {
				if (reloadable{paths: []string{path}}).concerns(s.Path) {
					claimed[path], concerned = true, true
				}
				if path == s.Path && !s.Live {
					t.Errorf("a part is changed by %s, which waits for a restart", path)
				}
			}
		}
		if s.Live && !concerned {
			t.Errorf("no part of the agent is changed by %s", s.Path)
		}
	}
	for _, p := range r.reloadable() {
		for _, path := range p.paths {
			if !claimed[path] {
				t.Errorf("a part is changed by %q, which is no setting", path)
			}
		}
	}
}

// Everything that can change does so in the part that uses it.
func TestReload_PutsInForce(t *testing.T) {
	r := newReloading(t)
	if done := r.reload(); len(done.Changed)+len(done.Restart) > 0 {
		t.Errorf("nothing was edited, and %+v changed", done)
	}
	r.edit(`
log_level = "debug"
log_json  = true
activator { max_waiting = 7 }
limits {
  max_instances  = 9
  max_spec_bytes = "2KiB"
}
retention { max = 3 }
mesh { shield = true }
telemetry { access_log = true }
defaults { priority = 60 }
`, `activator { address = "127.0.0.1:0" }`, "", `driver = "docker"`, `driver = "raw_exec"`,
		`gateway {`, "gateway {\n  domain = \"other.example.com\"\n  trusted_proxies = [\"10.0.0.0/8\"]\n  public_port = 99",
		`redirect = false`, `redirect = true`, `consul { address = "http://127.0.0.1:1" }`, "consul {\n  address = \"http://127.0.0.1:1\"\n  allow_intentions = true\n}")
	done := r.reload()
	want := []string{
		"activator.max_waiting", "consul.allow_intentions", "defaults", "gateway.domain", "gateway.public_port", "gateway.tls.redirect",
		"gateway.trusted_proxies", "limits.max_instances", "limits.max_spec_bytes", "log_json", "log_level", "mesh.shield", "queue_proxy",
		"retention.max", "telemetry.access_log",
	}
	if diff := cmp.Diff(want, done.Changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"activator.address"}, done.Restart); diff != "" {
		t.Errorf("waits for a restart (-want +got):\n%s", diff)
	}
	if !r.log.IsDebug() || !r.json {
		t.Errorf("log level %s, JSON %v", r.log.GetLevel(), r.json)
	}
	if got := r.inForce(); got.Activator.MaxWaiting != 7 || got.Activator.Address != "127.0.0.1:0" {
		t.Errorf("in force is %+v, want the new bound and the old address", got.Activator)
	}
	if !r.telemetry.On() || r.front.url("a")[:len("https://a.other.example.com")] != "https://a.other.example.com" {
		t.Errorf("access log %v, URL %s", r.telemetry.On(), r.front.url("a"))
	}
	if got := r.control.Now(); got.Ceiling != 9 || got.Retention.Max != 3 {
		t.Errorf("the leader's loops have %+v", got)
	}
	route := wadi.Route{Service: "hello", Visibility: wadi.Public, Targets: []wadi.RouteTarget{{Revision: "hello-00001", Weight: wadi.WeightAll}}}
	r.gateway.SetRoutes(map[string]wadi.Route{"hello": route})
	for host, known := range map[string]bool{"hello.other.example.com": true, "hello.wadi.localhost": false} {
		w := httptest.NewRecorder()
		r.gateway.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://"+host+"/", nil))
		if known != (w.Code != http.StatusNotFound) {
			t.Errorf("the gateway answers %s with %d, known %v", host, w.Code, known)
		}
	}
	large := httptest.NewRequest(http.MethodPut, "/v1/services", strings.NewReader(`{"files": [{"name": "a.hcl", "source": "`+strings.Repeat("#", 3000)+`"}]}`))
	large.RemoteAddr, large.Host = "127.0.0.1:9", "localhost"
	w := httptest.NewRecorder()
	if r.api.server.Handler().ServeHTTP(w, large); w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "limits.max_spec_bytes is 2048") {
		t.Errorf("admission answers a large submission with %d %s", w.Code, w.Body)
	}
	// What is pending is named again.
	if again := r.reload(); len(again.Changed) > 0 || !cmp.Equal(again.Restart, done.Restart) {
		t.Errorf("the second time: %+v", again)
	}
}

// A configuration with a mistake changes nothing, not even what is right in it, and names
// every mistake with its file and line.
func TestReload_RefusedWhole(t *testing.T) {
	r := newReloading(t)
	r.edit("log_level = \"debug\"\nlimits { max_instances = 9 }\nretention { max = -1 }\nnonsense = 1\n")
	_, err := r.Reload(t.Context())
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusUnprocessableEntity || len(refused.Details) != 2 ||
		refused.Message != "the configuration has 2 mistakes; nothing was changed" {
		t.Fatalf("got %+v", err)
	}
	for i, want := range []string{"retention.max", "nonsense"} {
		if p := refused.Details[i]; p.Path != want || p.File != r.file || p.Line == 0 {
			t.Errorf("detail %d is %+v, want %s with file and line", i, p, want)
		}
	}
	if r.log.IsDebug() || r.inForce().Limits.MaxInstances != 100 {
		t.Error("a part of it is in force")
	}
	if got := testutil.ToFloat64(r.reloads.total.WithLabelValues("refused")); got != 1 || testutil.ToFloat64(r.reloads.success) != 0 {
		t.Errorf("%v refusals are counted", got)
	}
	r.edit("", "nonsense = 1", "", "max = -1", "max = 1")
	if done := r.reload(); !cmp.Equal(done.Changed, []string{"limits.max_instances", "log_level", "retention.max"}) || testutil.ToFloat64(r.reloads.success) != 1 {
		t.Errorf("mended: %+v", done)
	}
}

// A mistake that is found last, in a file that a setting names, leaves the rest unchanged.
func TestReload_BadFileOfASetting(t *testing.T) {
	r := newReloading(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.edit("log_level = \"debug\"\n", `nomad { address = "http://127.0.0.1:1" }`, "nomad {\n  address = \"http://127.0.0.1:1\"\n  ca_file = \""+ca+"\"\n}")
	if _, err := r.Reload(t.Context()); err == nil || r.log.IsDebug() {
		t.Errorf("got %v, debug %v; want a refusal", err, r.log.IsDebug())
	}
}

// Reloads that come at once run one after the other, and one that has to wait ends with its
// caller.
func TestReload_OneAtATime(t *testing.T) {
	r := newReloading(t)
	var running, most int
	var mu sync.Mutex
	inside, free := make(chan struct{}, 8), make(chan struct{})
	load := r.deps.Load
	r.deps.Load = func() (config.Config, []wadi.Problem) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		inside <- struct{}{}
		<-free
		mu.Lock()
		running--
		mu.Unlock()
		return load()
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := r.Reload(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.Reload(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a reload beside another: %v", err)
	}
	close(free)
	wg.Wait()
	if most != 1 {
		t.Errorf("%d ran at a time", most)
	}
}

// A file that can't be read for ever ends a reload in time, and keeps others, and a file that
// the writer of a pipe ends later, from changing anything.
func TestReload_FileThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		a := &Agent{
			log: hclog.NewNullLogger(), reloads: newReloads(prometheus.NewRegistry()),
			deps: Deps{Load: func() (config.Config, []wadi.Problem) { <-hang; return config.Default(), nil }},
		}
		c := config.Default()
		a.live.Store(&c)
		began := time.Now()
		if _, err := a.Reload(t.Context()); !errors.Is(err, wadi.ErrUnavailable) || !strings.Contains(err.Error(), "can't be read within 10s") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != prepareTimeout {
			t.Errorf("it took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Reload(ctx); !errors.Is(err, wadi.ErrUnavailable) || !strings.Contains(err.Error(), "another reload runs") {
			t.Errorf("meanwhile: %v", err)
		}
		close(hang)
		synctest.Wait()
		if len(a.reloads.turn) != 0 {
			t.Error("its turn has not ended")
		}
	})
}

// Webhooks come, change and go with a reload, and one that can't be used refuses it whole.
func TestReload_Webhooks(t *testing.T) {
	r := newReloading(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	const hook = "admission \"policy\" {\n  url = \"https://policy.example.com/\"\n%s}\n"
	r.edit("log_level = \"debug\"\n" + strings.ReplaceAll(hook, "%s", "  ca_file = \""+ca+"\"\n"))
	if _, err := r.Reload(t.Context()); err == nil || len(r.webhooks.all) != 0 || r.log.IsDebug() {
		t.Errorf("a webhook with a bad authority: %v, %d in force", err, len(r.webhooks.all))
	}
	r.edit("", "  ca_file = \""+ca+"\"\n", "")
	if done := r.reload(); !cmp.Equal(done.Changed, []string{"admission", "log_level"}) || len(r.webhooks.all) != 1 || r.webhooks.all[0].URL != "https://policy.example.com/" {
		t.Errorf("%+v, %v in force", done, r.webhooks.all)
	}
	r.edit("", "url = \"https://policy.example.com/\"", "url = \"https://policy.example.org/\"")
	if done := r.reload(); !cmp.Equal(done.Changed, []string{"admission"}) || r.webhooks.all[0].URL != "https://policy.example.org/" {
		t.Errorf("%+v, %v in force", done, r.webhooks.all)
	}
	r.edit("", strings.ReplaceAll(strings.ReplaceAll(hook, "%s", ""), ".com", ".org"), "")
	if done := r.reload(); !cmp.Equal(done.Changed, []string{"admission"}) || len(r.webhooks.all) != 0 {
		t.Errorf("%+v, %v in force", done, r.webhooks.all)
	}
}

// Registries are asked with what was reloaded, and a broken file of credentials is refused
// without a word of what is in it.
func TestReload_Images(t *testing.T) {
	r := newReloading(t)
	file := filepath.Join(t.TempDir(), "docker.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"auths": {"r.example.com": {"auth": "s3cret"}}}`)
	r.edit("images {\n  docker_config = \"" + file + "\"\n}\n")
	_, err := r.Reload(t.Context())
	var refused *api.Error
	if !errors.As(err, &refused) || len(refused.Details) != 1 || !strings.Contains(refused.Details[0].Message, `"r.example.com"`) || strings.Contains(refused.Details[0].Message, "s3cret") {
		t.Fatalf("a file that can't be read: %+v", err)
	}
	write(`{"auths": {}}`)
	if done := r.reload(); !cmp.Equal(done.Changed, []string{"images.docker_config"}) || r.inForce().Images.DockerConfig != file {
		t.Errorf("mended: %+v", done)
	}
	write(`{`)
	if _, err := r.Reload(t.Context()); err == nil {
		t.Error("a file that was broken later is reloaded")
	}
}
