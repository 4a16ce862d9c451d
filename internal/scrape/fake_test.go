package scrape_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/scrape"
	"github.com/wadi-run/wadi/proxy/stats"
	"github.com/wadi-run/wadi/scheduler"
)

// network connects a scraper to sources in memory, so that time can be faked.
type network struct {
	mu    sync.Mutex
	hosts map[string]*host
}

// host serves HTTP at an address.
type host struct {
	net   *network
	addr  string
	conns chan net.Conn
	done  chan struct{}
	srv   *http.Server

	mu    sync.Mutex
	asked map[string]int // Number of requests by path.
	cut   bool           // Requests are read and not answered.
}

func newNetwork() *network { return &network{hosts: map[string]*host{}} }

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	h := n.hosts[addr]
	n.mu.Unlock()
	if h == nil {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	here, there := net.Pipe()
	select {
	case h.conns <- there:
		return here, nil
	case <-h.done:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve opens a host.
func (n *network) serve(addr string, handler http.Handler) *host {
	h := &host{net: n, addr: addr, conns: make(chan net.Conn), done: make(chan struct{}), asked: map[string]int{}}
	h.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.asked[r.URL.Path]++
		cut := h.cut
		h.mu.Unlock()
		if cut {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	})}
	n.mu.Lock()
	n.hosts[addr] = h
	n.mu.Unlock()
	go func() { _ = h.srv.Serve(h) }()
	return h
}

// stop ends the host as a killed process would.
func (h *host) stop() {
	h.net.mu.Lock()
	if h.net.hosts[h.addr] == h {
		delete(h.net.hosts, h.addr)
	}
	h.net.mu.Unlock()
	_ = h.srv.Close()
}

// silence makes the host stop answering requests, or answer again.
func (h *host) silence(cut bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = cut
}

func (h *host) requests(path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[path]
}

func (h *host) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.done:
	default:
		close(h.done)
	}
	return nil
}

func (h *host) Addr() net.Addr { return &net.TCPAddr{} }

// instance is a queue-proxy's metrics listener.
type instance struct {
	*host
	clock *stats.Clock
	rec   *stats.Recorder

	readyMu sync.Mutex
	isReady bool
	why     string // Why it is not ready.

	wide, unshielded string // Of its app, and its network.
}

func (n *network) instance(id, boot string) *instance {
	in := &instance{clock: stats.NewClock()}
	in.rec = in.clock.NewRecorder(id, boot, rev1, time.Hour)
	mux := http.NewServeMux()
	mux.Handle("/v1/stats", stats.Handler(in.rec, func(h http.Header) {
		h.Set("Wadi-Ready", fmt.Sprint(in.ready()))
		if !in.ready() {
			h.Set("Wadi-Unready", in.says())
		}
		in.readyMu.Lock()
		defer in.readyMu.Unlock()
		h.Set("Wadi-Wide", in.wide)
		h.Set("Wadi-Unshielded", in.unshielded)
	}))
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !in.ready() {
			http.Error(w, in.says(), http.StatusServiceUnavailable)
		}
	})
	in.host = n.serve(id+":80", mux)
	return in
}

func (in *instance) ready() bool {
	in.readyMu.Lock()
	defer in.readyMu.Unlock()
	return in.isReady
}

func (in *instance) says() string {
	in.readyMu.Lock()
	defer in.readyMu.Unlock()
	return in.why
}

func (in *instance) setWhy(why string) {
	in.readyMu.Lock()
	defer in.readyMu.Unlock()
	in.why = why
}

func (in *instance) setExposed(wide, unshielded string) {
	in.readyMu.Lock()
	in.wide, in.unshielded = wide, unshielded
	in.readyMu.Unlock()
	in.clock.Wake()
}

func (in *instance) setReady(ready bool) {
	in.readyMu.Lock()
	in.isReady = ready
	in.readyMu.Unlock()
	in.clock.Wake()
}

// activator is an agent's metrics listener.
type activator struct {
	*host
	clock *stats.Clock
	id    string
	boot  string

	recMu sync.Mutex
	recs  map[string]*stats.Recorder
}

func (n *network) activator(id, boot string) *activator {
	a := &activator{clock: stats.NewClock(), id: id, boot: boot, recs: map[string]*stats.Recorder{}}
	mux := http.NewServeMux()
	mux.Handle("/v1/stats", stats.HandlerOfMany(a.clock, func() []*stats.Recorder {
		a.recMu.Lock()
		defer a.recMu.Unlock()
		var all []*stats.Recorder
		for _, r := range a.recs {
			all = append(all, r)
		}
		return all
	}))
	a.host = n.serve(id+":80", mux)
	return a
}

func (a *activator) of(revision string) *stats.Recorder {
	a.recMu.Lock()
	defer a.recMu.Unlock()
	if a.recs[revision] == nil {
		a.recs[revision] = a.clock.NewRecorder(a.id, a.boot, revision, time.Hour)
	}
	return a.recs[revision]
}

const rev1, rev2 = "hello-00001", "hello-00002"

// load begins n requests, and ends them when the returned function is called.
func load(r *stats.Recorder, n int, proxied bool) (end func()) {
	var ends []func()
	for range n {
		ends = append(ends, r.Begin(proxied))
	}
	return func() {
		for _, e := range ends {
			e()
		}
	}
}

// perSecond is how many busy instances are read every second: fewer than by default,
// because each costs the test time.
const perSecond = 30

// rig is a running scraper in a bubble.
type rig struct {
	*testing.T
	*network
	s *scrape.Scraper
}

// scraping runs test in a bubble, beside a scraper without sources.
func scraping(t *testing.T, test func(r rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := rig{T: t, network: newNetwork()}
		r.s = scrape.New(hclog.NewNullLogger(), nil)
		r.s.Dial, r.s.PerSecond = r.dial, perSecond
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.s.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			for _, h := range r.all() {
				h.stop()
			}
		}()
		test(r)
	})
}

func (n *network) all() []*host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.hosts))
}

// follow sets the sources, by names that begin with a for activators. Revisions
// are as old as the bubble.
func (r rig) follow(ids ...string) { r.followSources(sources(ids...)) }

func (r rig) followSources(srcs []scrape.Source) {
	r.s.Set([]scrape.Revision{{ID: rev1, Created: time.Now().Truncate(time.Hour), Window: time.Minute}}, srcs)
}

func sources(ids ...string) []scrape.Source {
	var all []scrape.Source
	for _, id := range ids {
		src := scrape.Source{ID: id, Kind: wadi.SourceInstance, Addr: id + ":80", Revision: rev1, Placed: time.Now()}
		if id[0] == 'a' {
			src.Kind, src.Revision = wadi.SourceActivator, ""
		}
		all = append(all, src)
	}
	return all
}

func (r rig) readyKnown(revision string) (known bool) {
	r.s.Read(revision, func(got scrape.Reading) { known = got.ReadyKnown })
	return known
}

func (r rig) readyCount(revision string) int {
	n, _ := r.s.ReadyCount(revision)
	return n
}

func (r rig) averages(revision string) (a scheduler.Averages) {
	r.s.Read(revision, func(got scrape.Reading) {
		a = got.Windows.Averages(got.Now, time.Minute, 6*time.Second, wadi.Concurrency)
	})
	return a
}

// pass waits for d and then until everything is idle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
