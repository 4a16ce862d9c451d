package activator_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

const (
	service  = "hello"
	revision = "hello-00001"
)

// cluster is Nomad as the activator sees it: what is placed, what a wake does,
// and the diagnosis.
type cluster struct {
	mu        sync.Mutex
	placed    map[string][]wadi.Endpoint
	changed   map[string]chan struct{}
	wakes     map[string]int
	order     []string
	wakeErr   error
	onWake    func(revision string) // Called outside the mutex.
	diagnosis string
	pull      wadi.PullFailure
	since     time.Time
	readings  int
}

func newCluster() *cluster {
	return &cluster{placed: map[string][]wadi.Endpoint{}, changed: map[string]chan struct{}{}, wakes: map[string]int{}}
}

func (c *cluster) Endpoints(rev string) ([]wadi.Endpoint, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readings++
	if c.changed[rev] == nil {
		c.changed[rev] = make(chan struct{})
	}
	return append([]wadi.Endpoint(nil), c.placed[rev]...), c.changed[rev]
}

// place sets where the revision's instances are.
func (c *cluster) place(eps ...wadi.Endpoint) { c.placeRevision(revision, eps...) }

func (c *cluster) placeRevision(rev string, eps ...wadi.Endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.placed[rev] = eps
	if ch := c.changed[rev]; ch != nil {
		close(ch)
		delete(c.changed, rev)
	}
}

func (c *cluster) Wake(_ context.Context, rev string) error {
	c.mu.Lock()
	c.wakes[rev]++
	c.order = append(c.order, rev)
	err, on := c.wakeErr, c.onWake
	c.mu.Unlock()
	if err == nil && on != nil {
		on(rev)
	}
	return err
}

func (c *cluster) Diagnosis(string) wadi.Diagnosis {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wadi.Diagnosis{Reason: c.diagnosis, Since: c.since, Pull: c.pull}
}

func (*cluster) Dial(ctx context.Context, ep wadi.Endpoint) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", ep.Addr)
}

func (c *cluster) set(f func(*cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *cluster) woken(rev string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wakes[rev]
}

// backend is an instance: a queue-proxy with its app behind it.
type backend struct {
	ep  wadi.Endpoint
	srv *httptest.Server

	mu       sync.Mutex
	unready  bool
	going    bool             // It has the order to go.
	order    http.HandlerFunc // How it answers orders; nil: as a probe.
	name     string           // The allocation that it says it is.
	app      http.HandlerFunc
	requests []*http.Request
	probes   int
	probedBy string // The address that the last probe came from that it was ready for.
	now, top int
}

// newBackend starts an instance that answers with its allocation's name.
func newBackend(t testing.TB, alloc string) *backend {
	t.Helper()
	b := &backend{name: alloc}
	b.srv = httptest.NewUnstartedServer(b)
	b.srv.Config.Protocols = new(http.Protocols)
	b.srv.Config.Protocols.SetHTTP1(true)
	b.srv.Config.Protocols.SetUnencryptedHTTP2(true)
	b.srv.Start()
	t.Cleanup(b.stop)
	b.ep = wadi.Endpoint{Revision: revision, Service: service, Instance: alloc, Addr: b.srv.Listener.Addr().String()}
	return b
}

func (b *backend) stop() {
	b.srv.CloseClientConnections()
	b.srv.Close()
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	name, app := b.name, b.app
	if rev := r.Header.Get(wadi.HeaderProbe); rev != "" {
		b.probes++
		unready, going, order := b.unready, b.going, b.order
		if !unready && !going {
			b.probedBy = r.RemoteAddr
		}
		b.mu.Unlock()
		switch {
		case order != nil && r.Header.Get(wadi.HeaderOrder) != "":
			order(w, r)
		case going:
			w.Header().Set(wadi.HeaderOrder, string(wadi.OrderGo))
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Header.Get(wadi.HeaderInstance) != name:
			w.WriteHeader(http.StatusMisdirectedRequest)
		case unready:
			w.Header().Set(wadi.HeaderUnready, "nothing listens on 127.0.0.1:8080")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.Header().Set(wadi.HeaderRevision, rev)
			w.Header().Set(wadi.HeaderInstance, name)
		}
		return
	}
	b.requests = append(b.requests, r)
	b.now++
	b.top = max(b.top, b.now)
	b.mu.Unlock()
	defer b.set(func(b *backend) { b.now-- })
	if r.Header.Get(wadi.HeaderInstance) != name {
		_ = http.NewResponseController(w).EnableFullDuplex() // As it must: the body is not for it.
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	if app == nil {
		_, _ = io.WriteString(w, name)
		return
	}
	app(w, r)
}

func (b *backend) set(f func(*backend)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

func (b *backend) counts() (requests, probes, top int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.requests), b.probes, b.top
}

func (b *backend) last() *http.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests[len(b.requests)-1]
}

// rig is an activator with a server in front.
type rig struct {
	*cluster
	act  *activator.Activator
	srv  *httptest.Server
	reg  *prometheus.Registry
	stop func()
}

// settings are a revision's whose limits no test reaches, even on a busy machine.
func settings() wadi.RouteRevision {
	return wadi.RouteRevision{
		Timeout: wadi.Timeouts{Request: wadi.Duration(10 * time.Minute)},
		Queue:   wadi.Queue{Depth: 1000, Timeout: wadi.Duration(5 * time.Minute)},
	}
}

// allOf are targets that give a revision all of the traffic.
func allOf(revision string) []wadi.RouteTarget {
	return []wadi.RouteTarget{{Revision: revision, Weight: wadi.WeightAll}}
}

func routes(set wadi.RouteRevision, p wadi.Protocol) map[string]wadi.Route {
	return map[string]wadi.Route{service: {
		Service: service, Protocol: p,
		Targets:   allOf(revision),
		Revisions: map[string]wadi.RouteRevision{revision: set},
	}}
}

func newRig(t testing.TB, set wadi.RouteRevision, edit ...func(*activator.Config)) *rig {
	t.Helper()
	c := newCluster()
	reg := prometheus.NewRegistry()
	cfg := activator.Config{
		Name: "agent", Boot: "1", Endpoints: c, Waker: c, Diagnoses: c, Dialer: c,
		Log: hclog.NewNullLogger(), Registerer: reg,
	}
	for _, f := range edit {
		f(&cfg)
	}
	a, err := activator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.SetRoutes(routes(set, wadi.HTTP1))
	g := &rig{cluster: c, act: a, reg: reg}
	g.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ServeRevision(w, r, service, revision)
	}))
	g.srv.Config.ConnContext = activator.ConnContext
	g.srv.Config.Protocols = new(http.Protocols)
	g.srv.Config.Protocols.SetHTTP1(true)
	g.srv.Config.Protocols.SetUnencryptedHTTP2(true)
	g.srv.Start()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("run: %v", err)
		}
		g.srv.CloseClientConnections()
		g.srv.Close()
	})
	t.Cleanup(g.stop)
	return g
}

// answer is what a client got.
type answer struct {
	status int
	body   string
	header http.Header
	err    error
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s (%s) %v", a.status, strings.TrimSpace(a.body), a.header.Get(activator.HeaderError), a.err)
}

func (g *rig) get(t testing.TB) answer {
	t.Helper()
	return g.do(g.request(t, http.MethodGet, "/", nil))
}

func (g *rig) request(t testing.TB, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.srv.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (g *rig) do(r *http.Request) answer {
	res, err := g.srv.Client().Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, string(b), res.Header, err}
}

// many sends n requests at once and returns all their answers.
func (g *rig) many(t testing.TB, n int) []answer {
	t.Helper()
	all := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		r := g.request(t, http.MethodGet, "/", nil)
		wg.Go(func() { all[i] = g.do(r) })
	}
	wg.Wait()
	return all
}

// gauge reads one metric without labels, or the sum over its labels.
func (g *rig) gauge(t testing.TB, name string) float64 {
	t.Helper()
	return gauge(t, g.reg, name)
}

func gauge(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// until polls ok, as the network gives no signal. It polls more seldom the longer that
// takes: polling costs time too.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.After(2 * time.Minute)
	for pause := 2 * time.Millisecond; !ok(); pause = min(2*pause, 50*time.Millisecond) {
		select {
		case <-time.After(pause):
		case <-late:
			t.Fatalf("%s did not happen", what)
		}
	}
}

// settle places eps, and returns when a running loop has synced them: that is certain when
// it reads endpoints once more.
func (g *rig) settle(t testing.TB, eps ...wadi.Endpoint) {
	t.Helper()
	for range 2 {
		before := g.asked()
		g.place(eps...)
		until(t, "the loop asks for endpoints", func() bool { return g.asked() > before })
	}
}

func (c *cluster) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readings
}

func (g *rig) waiting(t testing.TB, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d waiting", n), func() bool { return g.gauge(t, "wadi_activator_waiting_requests") == float64(n) })
}

func wantRefusal(t testing.TB, got answer, status int, code, text string) {
	t.Helper()
	if got.status != status || got.header.Get(activator.HeaderError) != code || !strings.Contains(got.body, text) {
		t.Fatalf("got %v, want %d (%s) with %q", got, status, code, text)
	}
}

// allowAll is a guard that allows all callers.
type allowAll struct{}

func (allowAll) Caller(*http.Request) (string, error)          { return "web", nil }
func (allowAll) Authorize(string, string, *http.Request) error { return nil }
