// Package smuggling_test sends the known attacks to a gateway, and to the queue-proxy
// binary itself, and compares three accounts: what the caller was answered, what the
// queue-proxy counted, and what the app saw on the wire.
package smuggling_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/gateway"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

const (
	service  = "hello"
	revision = "hello-00001"
	instance = "alloc-1"
	patience = time.Minute
)

// queueProxy is a process of its own.
type queueProxy struct{ addr, metrics string }

func startQueueProxy(t *testing.T, target string) queueProxy {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "queue-proxy")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/wadi-run/wadi/cmd/queue-proxy").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ports, err := freeport.Ports(3)
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	cmd := exec.Command(bin)
	cmd.Env = []string{"WADI_SERVICE=" + service, "WADI_REVISION=" + revision, "WADI_INSTANCE=" + instance, "WADI_TARGET=" + target,
		"WADI_LISTEN=" + at(0), "WADI_ADMIN=" + at(1), "WADI_METRICS=" + at(2)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return queueProxy{addr: at(0), metrics: at(2)}
}

// counted is how many requests have ended in the queue-proxy, and how many with success.
func (q queueProxy) counted(t *testing.T) (all, well int) {
	t.Helper()
	res, err := http.Get("http://" + q.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	found := false
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if labels, ok := strings.CutPrefix(lines.Text(), "wadi_queue_requests_total{"); ok {
			var n int
			labels, value, _ := strings.Cut(labels, "} ")
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatal(err)
			}
			if all += n; strings.Contains(labels, `"2xx"`) {
				well, found = well+n, true
			}
		}
	}
	if !found {
		t.Fatal("the queue-proxy does not say how many requests ended well")
	}
	return all, well
}

// cluster is a cluster where the instance already runs.
type cluster struct{ endpoint wadi.Endpoint }

func (c cluster) Endpoints(string) ([]wadi.Endpoint, <-chan struct{}) {
	return []wadi.Endpoint{c.endpoint}, make(chan struct{})
}
func (cluster) Wake(context.Context, string) error { return nil }
func (cluster) Diagnosis(string) wadi.Diagnosis    { return wadi.Diagnosis{} }
func (cluster) Dial(ctx context.Context, ep wadi.Endpoint) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", ep.Addr)
}

// startGateway starts gateway and activator as the agent has them, for host "h".
func startGateway(t *testing.T, q queueProxy) (addr string) {
	t.Helper()
	c := cluster{wadi.Endpoint{Revision: revision, Service: service, Instance: instance, Addr: q.addr, Running: true}}
	reg := prometheus.NewRegistry()
	act, err := activator.New(activator.Config{Name: "agent", Boot: "1", Endpoints: c, Waker: c, Diagnoses: c, Dialer: c, Log: hclog.NewNullLogger(), Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	routes := map[string]wadi.Route{service: {
		Service: service, Protocol: wadi.HTTP1, Visibility: wadi.Public, Domains: []string{"h"},
		Targets: []wadi.RouteTarget{{Revision: revision, Weight: wadi.WeightAll}},
		Revisions: map[string]wadi.RouteRevision{revision: {
			Timeout: wadi.Timeouts{Request: wadi.Duration(patience)}, Queue: wadi.Queue{Depth: 10, Timeout: wadi.Duration(patience)},
		}},
	}}
	act.SetRoutes(routes)
	g, err := gateway.New(gateway.Config{Settings: gateway.Settings{Domain: "wadi.localhost"}, Activator: act, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	g.SetRoutes(routes)
	s, err := gateway.NewServer(t.Context(), gateway.ServerConfig{Address: "127.0.0.1:0", Handler: g, Malformed: g.Malformed("http"), Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 2)
	go func() { ran <- act.Run(ctx) }()
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ran; err != nil {
				t.Error(err)
			}
		}
	})
	return s.Addr().String()
}

// send writes an attack, closes its half, and returns the statuses of all answers, and
// whether the connection was closed in the end.
func send(t *testing.T, addr string, what []byte) (statuses []int) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(what); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			if err != io.ErrUnexpectedEOF && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection was not closed: %v", err)
			}
			return statuses
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Errorf("an answer broke off: %v", err)
			return statuses
		}
		statuses = append(statuses, res.StatusCode)
	}
}

// last is a harmless request that makes a server close its connection.
const last = "GET /last HTTP/1.1\nHost: h\nConnection: close\n\n"

func TestAttacks(t *testing.T) {
	a := startApp(t)
	q := startQueueProxy(t, a.addr)
	front := startGateway(t, q)
	waitServed(t, front)
	for where, addr := range map[string]string{"gateway": front, "queue-proxy": q.addr} {
		for _, attack := range proxytest.Attacks() {
			t.Run(where+"/"+attack.Name, func(t *testing.T) { check(t, a, q, addr, attack) })
		}
	}
	// Requests that broke off before the app are counted too; never the other way round.
	eventually(t, "all that the app saw to be counted", func() bool {
		all, _ := q.counted(t)
		return all >= a.total()
	})
}

func check(t *testing.T, a *app, q queueProxy, addr string, attack proxytest.Attack) {
	a.take()
	_, before := q.counted(t)
	what := attack.Bytes()
	served := slices.Clone(attack.Served)
	if attack.Why == "" {
		what = append(what, proxytest.Wire(last)...)
		served = append(served, proxytest.Request{Method: "GET", Target: "/last", Whole: true})
	}
	got := send(t, addr, what)
	var want []int
	var wantSeen []string
	for _, r := range served {
		if r.Whole {
			want = append(want, 200)
			wantSeen = append(wantSeen, fmt.Sprintf("%s %s %q", r.Method, strings.TrimPrefix(r.Target, "http://h"), r.Body))
		}
	}
	if attack.Why != "" {
		want = append(want, 400)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses: %s", diff)
	}
	seen, odd := a.take()
	if diff := cmp.Diff(wantSeen, seen); diff != "" {
		t.Errorf("the app saw: %s", diff)
	}
	if len(odd) > 0 {
		t.Errorf("the app saw what is no request: %q", odd)
	}
	eventually(t, fmt.Sprintf("%d requests to be counted", len(seen)), func() bool {
		_, well := q.counted(t)
		return well-before == len(seen)
	})
}

// eventually waits for a state that comes soon: a request is counted after it has ended.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			t.Fatalf("still waiting for %s", what)
		}
	}
}

// waitServed waits until requests reach the app.
func waitServed(t *testing.T, addr string) {
	t.Helper()
	eventually(t, "the first answer", func() bool { return slices.Equal(send(t, addr, proxytest.Wire(last)), []int{200}) })
}
