package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/agent/doctor"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/consul/consultest"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/internal/nomad/nomadtest"
)

const longest = time.Minute // A wait takes milliseconds where the test passes.

// cluster is a Consul and a Nomad in memory.
type cluster struct {
	consul *consultest.Fake
	nomad  *nomadtest.Fake
}

func newCluster(t *testing.T) cluster {
	return cluster{consultest.Start(t), nomadtest.StartFake(t)}
}

// config is that of an agent of the cluster, on free ports unless hcl says otherwise.
func (c cluster) config(t *testing.T, name, hcl string) config.Config {
	t.Helper()
	dir := t.TempDir() // All *.hcl files in it count, in order.
	text := fmt.Sprintf(`http {
  address = "127.0.0.1:0"
  auth    = "none"
}
metrics { address = "127.0.0.1:0" }
activator { address = "127.0.0.1:0" }
gateway { address = "127.0.0.1:0" }
queue_proxy { driver = "raw_exec" }
nomad { address = %q }
consul { address = %q }
`, c.nomad.URL, c.consul.URL)
	for name, text := range map[string]string{"1.hcl": text, "2.hcl": hcl} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, problems := config.Load([]string{dir}, func(string) string { return "" }, config.Flags{Name: name, Dev: true})
	for _, p := range problems {
		if !p.Warning {
			t.Fatal(problems)
		}
	}
	return cfg
}

// running is an agent that runs.
type running struct {
	*Agent
	log   *logLines
	stop  func() error // Stops it and waits for the end.
	ended <-chan struct{}
}

// run runs an agent of the cluster.
func (c cluster) run(t *testing.T, name, hcl string) *running {
	t.Helper()
	lines := &logLines{}
	log := hclog.New(&hclog.LoggerOptions{Name: "wadi", Level: hclog.Debug, Output: lines})
	a, err := New(t.Context(), c.config(t, name, hcl), Deps{Log: log, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var result error
	go func() {
		defer close(ended)
		result = a.Run(ctx)
	}()
	r := &running{Agent: a, log: lines, ended: ended, stop: func() error { cancel(); <-ended; return result }}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

func (r *running) client(t *testing.T) *api.Client {
	t.Helper()
	c, err := api.New(api.Config{Address: "http://" + r.APIAddr().String()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get asks a listener of the agent, on a connection of its own.
func get(t *testing.T, addr net.Addr, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: longest}
	res, err := client.Get("http://" + addr.String() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(longest); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%s: not within %s", what, longest)
		}
	}
}

// logLines is the log of an agent.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// matching returns the parts of lines after a text.
func (l *logLines) matching(after string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if _, rest, ok := strings.Cut(line, after); ok {
			out = append(out, strings.TrimSpace(rest))
		}
	}
	return out
}

// ready waits until the agent answers that it is, and there is a leader.
func (r *running) ready(t *testing.T) {
	t.Helper()
	eventually(t, "ready", func() bool {
		code, _ := get(t, r.MetricsAddr(), "/ready")
		return code == http.StatusOK && len(r.health.problems()) == 0
	})
}

// stopOrder is the order in which an agent stops. A drain stops what is before "planes".
var stopOrder = []string{
	"presence", "callers", "front", "requests", "planes", "core",
	"metrics listener", "API listener", "connections to admission webhooks", "mesh listener", "gateway listener", "connections to Nomad",
}

const helloService = `service "hello" {
  network = "host"
  mesh    = "off"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
    }
  }
}
`

// An agent starts, leads, takes a service, says that it is well, and stops in order. Its
// registration, its listeners and its goroutines end with it.
func TestAgent(t *testing.T) {
	c := newCluster(t)
	r := c.run(t, "one", "")
	r.ready(t)
	if got := c.consul.Registered(wadi.ServiceAgent); len(got) != 1 {
		t.Errorf("registered are %v, want one agent", got)
	}
	client := r.client(t)
	if leader, err := client.Leader(t.Context()); err != nil || leader.Name != "one" {
		t.Errorf("the leader is %+v, %v", leader, err)
	}
	eventually(t, "it logs that it leads", func() bool { return len(r.log.matching(": leading")) > 0 }) // After it has the lock.
	if got := r.log.matching(": leading"); len(got) != 1 {
		t.Errorf("it logs %d times that it leads, want once: %q", len(got), got)
	}
	if err := client.Health(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
	if code, body := get(t, r.MetricsAddr(), "/metrics"); code != http.StatusOK || !strings.Contains(body, "\nwadi_leader 1\n") {
		t.Errorf("metrics: %d, without the leader's", code)
	}
	if code, body := get(t, r.APIAddr(), doctor.Path); code != http.StatusOK || !strings.Contains(body, "it is healthy") || strings.Contains(body, `"fail"`) {
		t.Errorf("doctor: %d, %s", code, body)
	}
	if code, _ := get(t, r.GatewayAddr(), "/"); code != http.StatusNotFound {
		t.Errorf("the gateway answers %d for a host that has no service, want 404", code)
	}

	if _, err := client.Apply(t.Context(), api.Submission{Files: []api.File{{Name: "hello.hcl", Source: helloService}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the service has a status", func() bool {
		s, err := client.Service(t.Context(), "hello")
		return err == nil && s.Status.Generation == s.Generation
	})
	if got := c.nomad.Jobs(); !slices.Equal(got, []string{"hello-00001"}) {
		t.Errorf("nomad has the jobs %v, want hello-00001", got)
	}

	if err := r.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	var stopped []string
	for _, line := range r.log.matching(": stopped: what=") {
		what, _, _ := strings.Cut(line, " took=")
		stopped = append(stopped, strings.Trim(what, `"`))
	}
	if diff := cmp.Diff(stopOrder, stopped); diff != "" {
		t.Errorf("stopped in this order (-want +got):\n%s", diff)
	}
	if got := c.consul.Registered(wadi.ServiceAgent); len(got) > 0 {
		t.Errorf("still registered: %v", got)
	}
	for what, addr := range map[string]net.Addr{"api": r.APIAddr(), "metrics": r.MetricsAddr(), "gateway": r.GatewayAddr(), "mesh": r.MeshAddr()} {
		if conn, err := net.Dial("tcp", addr.String()); err == nil {
			_ = conn.Close()
			t.Errorf("the %s listener is open", what)
		}
	}
	noGoroutines(t)
}

// noGoroutines waits until no goroutine of an agent is left. Those of the fakes and of idle
// connections end with the test.
func noGoroutines(t *testing.T) {
	t.Helper()
	left := func() (all []string) {
		buf := make([]byte, 8<<20)
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			of := func(part string) bool { return strings.Contains(g, part) }
			if of("github.com/") && !of("testing.tRunner") && !of("testing.(*T).Run") && !of("net/http.(*persistConn)") && !of("net/http.(*conn).serve") && !of("net/http/httptest.") {
				all = append(all, g)
			}
		}
		return all
	}
	for late := time.Now().Add(5 * time.Second); len(left()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("left behind:\n%s", strings.Join(left(), "\n\n"))
		}
	}
}

// A drain that was asked for stops everything above the planes, which report it.
func TestAgent_DrainsAndGoesOn(t *testing.T) {
	c := newCluster(t)
	r := c.run(t, "one", "")
	r.ready(t)
	if diff := cmp.Diff(stopOrder, r.opened.order()); diff != "" {
		t.Errorf("it would stop in this order (-want +got):\n%s", diff)
	}
	r.drainer.Begin()
	if err := r.drainer.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, body := get(t, r.MetricsAddr(), "/ready"); code != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
		t.Errorf("ready: %d %s, want 503 and why", code, body)
	}
	if code, _ := get(t, r.GatewayAddr(), "/"); code != 0 {
		t.Errorf("the gateway answers %d after the drain", code)
	}
	if got := c.consul.Registered(wadi.ServiceAgent); len(got) > 0 {
		t.Errorf("still registered: %v", got)
	}
	select {
	case <-r.ended:
		t.Error("the drain ended the agent")
	default:
	}
}

// A port that is taken is an error that names its setting, and closes all that was opened.
func TestAgent_PortTaken(t *testing.T) {
	c := newCluster(t)
	for _, setting := range []string{"http", "metrics", "gateway", "activator"} {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = taken.Close() }()
		ports, err := freeport.Ports(4)
		if err != nil {
			t.Fatal(err)
		}
		cfg := c.config(t, "one", "")
		var others []string
		for name, addr := range map[string]*string{
			"http": &cfg.HTTP.Address, "metrics": &cfg.Metrics.Address, "gateway": &cfg.Gateway.Address, "activator": &cfg.Activator.Address,
		} {
			if *addr = taken.Addr().String(); name != setting {
				*addr = fmt.Sprintf("127.0.0.1:%d", ports[len(others)])
				others = append(others, *addr)
			}
		}
		if _, err := New(t.Context(), cfg, Deps{}); err == nil || !strings.Contains(err.Error(), setting+".address") {
			t.Errorf("%s: got %v", setting, err)
		}
		for _, addr := range others {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Errorf("%s: a listener was left open: %v", setting, err)
				continue
			}
			_ = l.Close()
		}
	}
}

// Two agents run in one process: one leads, and the other one takes over when it stops.
func TestAgent_TwoInOneProcess(t *testing.T) {
	c := newCluster(t)
	one := c.run(t, "one", "")
	one.ready(t)
	two := c.run(t, "two", "")
	two.ready(t)
	eventually(t, "each knows the other", func() bool { return len(one.members.Alive()) == 2 && len(two.members.Alive()) == 2 })
	if name, _ := two.leadership.Leader(); name != "one" {
		t.Errorf("two says that %q leads", name)
	}
	if err := one.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two leads", func() bool { name, _ := two.leadership.Leader(); return name == "two" })
	eventually(t, "two is alone", func() bool { return len(two.members.Alive()) == 1 })
	if lost := two.members.Lost(time.Now()); len(lost) > 0 {
		t.Errorf("an agent that deregistered is lost: %v", lost)
	}
}

// An agent whose check fails without its deregistration is reported as lost by the others.
func TestAgent_ReportsALostAgent(t *testing.T) {
	c := newCluster(t)
	one := c.run(t, "one", "")
	one.ready(t)
	two := c.run(t, "two", "")
	two.ready(t)
	eventually(t, "two knows one", func() bool { return len(two.members.Alive()) == 2 })
	c.consul.Lose(c.consul.Registered(wadi.ServiceAgent)[0])
	eventually(t, "two reports one", func() bool {
		d, err := two.client(t).Doctor(t.Context())
		return err == nil && len(d.Agents) == 1 && slices.ContainsFunc(d.Agents[0].Findings, func(f wadi.Finding) bool {
			return f.About == "agent one" && strings.HasPrefix(f.What, "it is lost since ")
		})
	})
}
