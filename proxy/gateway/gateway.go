// Package gateway takes in HTTP from outside the mesh: it finds a request's service by the
// Host and a revision by weight or tag, and hands the request to the activator.
//
// It promises that what an untrusted peer claims about itself, in forwarding headers or in
// Wadi's own, never reaches an app. It has no path of its own: all paths belong to the
// services, but for a certificate authority that Wadi itself has asked to check a domain. It
// never waits for an instance or talks to one.
package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/rules"
)

// Activator answers a request by a revision's instance.
type Activator interface {
	ServeRevision(w http.ResponseWriter, r *http.Request, service, revision string)
}

var _ Activator = (*activator.Activator)(nil)

// Config is what a Gateway needs.
type Config struct {
	Settings // At first. See [Gateway.Set].

	Activator  Activator
	Registerer prometheus.Registerer
	Log        hclog.Logger // Of mistakes that copies of requests meet; nil: none is written.

	// Domains answers the certificate authority; nil: there is none.
	Domains Domains

	// Authorize returns nil if caller, which is wadi.ServiceGateway, may send r to
	// service. It is called before anything is done for r; its errors are answered by
	// activator.Unauthorized. A nil Authorize permits all requests.
	Authorize func(caller, service string, r *http.Request) error
}

// Settings are what [Gateway.Set] changes while requests come.
type Settings struct {
	Domain string // Services are <name>.<Domain>.

	// TrustedProxies are peers whose X-Forwarded headers are kept and extended.
	TrustedProxies []netip.Prefix
}

// Gateway is an http.Handler. Until SetRoutes or SetTable it knows no host.
type Gateway struct {
	cfg      Config
	table    atomic.Pointer[Table]
	settings atomic.Pointer[Settings] // In force.

	mu     sync.Mutex
	routes map[string]wadi.Route // Of the table, if SetRoutes made it.

	requests *prometheus.CounterVec // By result: routed, or the code of the refusal.
	broken   *prometheus.CounterVec // By listener and reason.
	copies   *copies
}

// New returns a Gateway without routes. Domain, Activator and Registerer are required.
func New(cfg Config) (*Gateway, error) {
	if cfg.Domain == "" || cfg.Activator == nil || cfg.Registerer == nil {
		return nil, errors.New("gateway: domain, activator and registerer are required")
	}
	g := &Gateway{cfg: cfg, requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_gateway_requests_total", Help: "Requests from outside the mesh: routed, redirected by a route, or why not.",
	}, []string{"result"}), broken: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_gateway_malformed_requests_total",
		Help: "Requests whose framing could be read in more than one way: refused, and the connection closed.",
	}, []string{"listener", "reason"})}
	if g.cfg.Log == nil {
		g.cfg.Log = hclog.NewNullLogger()
	}
	g.copies = newCopies(cfg.Activator.ServeRevision, g.cfg.Log)
	for _, c := range []prometheus.Collector{g.requests, g.broken, g.copies.result} {
		if err := cfg.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("gateway: register metrics: %w", err)
		}
	}
	g.table.Store(&Table{})
	g.settings.Store(&cfg.Settings)
	return g, nil
}

// SetTable replaces the table of hosts.
func (g *Gateway) SetTable(t *Table) {
	g.table.Store(t)
	g.copies.forget(time.Now())
}

// EndCopies ends the copies of requests that are under way; none is sent any more.
func (g *Gateway) EndCopies() { g.copies.stop() }

// SetRoutes builds the table for routes, keyed by service, and puts it in force. It returns
// the hosts that two services claim.
func (g *Gateway) SetRoutes(routes map[string]wadi.Route) []Conflict {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.routes = routes
	t, conflicts := BuildTable(routes, g.settings.Load().Domain)
	g.SetTable(t)
	return conflicts
}

// Set puts settings in force for the requests that come from now on. With another domain
// the services answer under their new names alone; it returns the hosts that two claim.
func (g *Gateway) Set(s Settings) []Conflict {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old := g.settings.Swap(&s); old.Domain == s.Domain {
		return nil
	}
	t, conflicts := BuildTable(g.routes, s.Domain)
	g.SetTable(t)
	return conflicts
}

// trusts reports whether an address is a trusted proxy's.
func (g *Gateway) trusts(ip netip.Addr) bool {
	return slices.ContainsFunc(g.settings.Load().TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// Malformed returns the counter of a listener's malformed requests.
func (g *Gateway) Malformed(listener string) func(framing.Reason) {
	return func(r framing.Reason) { g.broken.WithLabelValues(listener, r.String()).Inc() }
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.answerAuthority(w, r) {
		return
	}
	row := g.table.Load().lookup(r.Host)
	if row == nil {
		g.refuse(w, r, activator.Refusal{Status: http.StatusNotFound, Code: activator.CodeNoHost,
			Message: "no service answers for host " + quotedHost(r.Host)})
		return
	}
	proxy.StripInternal(r.Header)
	g.setForwarding(r)
	to := row.pick(r)
	if to.service == "" {
		g.refuse(w, r, activator.Refusal{Status: http.StatusNotFound, Code: activator.CodeNoHost,
			Message: fmt.Sprintf("service %s has a route for this request to a service that is not public, or gone", row.service)})
		return
	}
	redirects := to.rule != nil && to.rule.Redirect != nil
	if to.rule != nil && !redirects { // Who may do it is judged by what the app will get, as an instance's Envoy does.
		if err := rules.Rewrite(r, to.rule); err != nil {
			g.refuse(w, r, activator.Refusal{Status: http.StatusBadRequest, Code: activator.CodeNoTarget, Message: err.Error()})
			return
		}
	}
	if g.cfg.Authorize != nil {
		if err := g.cfg.Authorize(wadi.ServiceGateway, to.service, r); err != nil {
			g.refuse(w, r, activator.Unauthorized(err))
			return
		}
	}
	if redirects {
		g.requests.WithLabelValues("redirected").Inc()
		activator.Redirect(w, r, to.rule)
		return
	}
	if to.revision == "" {
		g.refuse(w, r, activator.Refusal{Status: http.StatusServiceUnavailable, Code: activator.CodeNoTarget,
			Message: fmt.Sprintf("service %s has no revision that takes traffic: none has become ready yet", to.service)})
		return
	}
	if to.drawn != noBucket {
		row.sticky.give(w.Header(), to.drawn, r.TLS != nil || g.cameByTLS(r))
	}
	g.requests.WithLabelValues("routed").Inc()
	if row.mirror != nil && to.service == row.service && row.mirror.wants(r, to.revision) {
		if end := g.copies.begin(row.mirror, row.service, r, time.Now()); end != nil {
			defer end()
		}
	}
	g.cfg.Activator.ServeRevision(w, r, to.service, to.revision)
}

func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, f activator.Refusal) {
	g.requests.WithLabelValues(f.Code).Inc()
	activator.Refuse(w, r, f)
}
