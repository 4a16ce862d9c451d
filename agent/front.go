package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// front is the listeners that take requests for services: the gateway, the gateway over
// TLS, and the mesh listener.
type front struct {
	inForce func() config.Config
	gateway *gateway.Server
	tls     *gateway.Server       // Nil: the gateway speaks no TLS.
	certs   *gateway.Certificates // Of tls.
	mesh    *gateway.Server
}

// openFront opens the listeners.
func (a *Agent) openFront(ctx context.Context) error {
	a.front = &front{inForce: a.inForce}
	plain, err := a.openTLS(ctx)
	if err != nil {
		return err
	}
	a.front.gateway, err = gateway.NewServer(ctx, gateway.ServerConfig{
		Address: a.cfg.Gateway.Address, Handler: a.inFront("gateway", plain), Malformed: a.gateway.Malformed("http"),
		Log: a.log.Named("gateway"), TrustedProxies: a.cfg.Gateway.TrustedProxies,
	})
	if err != nil {
		return portError("gateway.address", a.cfg.Gateway.Address, err)
	}
	a.opened.push("gateway listener", func() { _ = a.front.gateway.Close() })
	a.front.mesh, err = gateway.NewServer(ctx, gateway.ServerConfig{
		Address: a.cfg.Activator.Address, Handler: forPeers(a.mesh, func() http.Handler { return a.api.peers }, a.inFront("mesh", a.activator.MeshHandler(a.guard))),
		TLS: a.mesh.ServerConfig(), Malformed: a.gateway.Malformed("mesh"), Log: a.log.Named("mesh"),
		Limits: gateway.Limits{IdleTimeout: proxy.EnvoysIdleTimeout},
	})
	if err != nil {
		return portError("activator.address", a.cfg.Activator.Address, err)
	}
	a.opened.push("mesh listener", func() { _ = a.front.mesh.Close() })
	return nil
}

// openTLS opens the gateway's listener for TLS, if there are certificates. It returns what
// the listener without TLS serves.
func (a *Agent) openTLS(ctx context.Context) (plain http.Handler, err error) {
	c, f := a.cfg.Gateway, a.front
	if !c.TLS.Enabled() {
		return a.gateway, nil
	}
	log := a.log.Named("gateway")
	if f.certs, err = gateway.LoadCertificates(c.TLS.CertDir, a.domains.forGateway(), log, a.reg); err != nil {
		return nil, fmt.Errorf("gateway.tls.cert_dir: %w", err)
	}
	f.tls, err = gateway.NewServer(ctx, gateway.ServerConfig{
		Address: c.TLS.Address, Handler: a.inFront("gateway", a.gateway.OverTLS(f.certs)), TLS: f.certs.TLSConfig(),
		Malformed: a.gateway.Malformed("https"), Log: log, TrustedProxies: c.TrustedProxies,
	})
	if err != nil {
		return nil, portError("gateway.tls.address", c.TLS.Address, err)
	}
	a.opened.push("TLS listener", func() { _ = f.tls.Close() })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tls := a.inForce().Gateway.TLS; tls.Redirect {
			a.gateway.RedirectToTLS(publicPort(f.tls.Addr(), tls.PublicPort)).ServeHTTP(w, r)
			return
		}
		a.gateway.ServeHTTP(w, r)
	}), nil
}

// inFront wraps the handler of a listener in what all of them do: request records, the
// drain, and the refusal of requests before the start is done.
func (a *Agent) inFront(listener string, next http.Handler) http.Handler {
	return a.telemetry.Handler(listener, a.drainer.handler(a.startup.gate(next)))
}

// run serves in a group.
func (f *front) run(g *group) {
	g.run("gateway", f.gateway.Run)
	if f.tls != nil {
		g.run("gateway over TLS", f.tls.Run)
	}
	g.run("mesh listener", f.mesh.Run)
}

// tlsAddress is the address of the gateway over TLS; empty if there is none.
func (f *front) tlsAddress() string {
	if f.tls == nil {
		return ""
	}
	return f.tls.Addr().String()
}

// url returns the URL of a service, as seen from outside, or of the gateway itself for "".
func (f *front) url(service string) string { return f.urlBy(f.inForce().Gateway, service) }

// urlBy is url by the settings c.
func (f *front) urlBy(c config.Gateway, service string) string {
	host := c.Domain
	if service != "" {
		host = service + "." + host
	}
	scheme, usual, port := "http", "80", publicPort(f.gateway.Addr(), c.PublicPort)
	if f.tls != nil && c.TLS.Redirect { // The plain gateway would send callers there.
		scheme, usual, port = "https", "443", publicPort(f.tls.Addr(), c.TLS.PublicPort)
	}
	if port != usual {
		host = net.JoinHostPort(host, port)
	}
	return scheme + "://" + host
}

// publicPort is the port at which callers reach a listener: the one that is mapped to it,
// or else its own.
func publicPort(listener net.Addr, mapped int) string {
	if mapped != 0 {
		return strconv.Itoa(mapped)
	}
	return strconv.Itoa(portOf(listener))
}
