package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/wadi-run/wadi/proxy/gateway"
)

// wireGateway opens the gateway's listeners: the plain one, and one for TLS where
// there are certificates.
func (a *Agent) wireGateway(ctx context.Context) (err error) {
	c := a.cfg.Gateway
	var plain http.Handler = a.gateway
	if c.TLS.Enabled() {
		log := a.log.Named("gateway")
		if a.certs, err = gateway.LoadCertificates(c.TLS.CertDir, log, a.reg); err != nil {
			return fmt.Errorf("gateway.tls.cert_dir: %w", err)
		}
		a.tlsServer, err = gateway.NewServer(ctx, gateway.ServerConfig{
			Address: c.TLS.Address, Handler: a.front("gateway", a.gateway.OverTLS(a.certs)), TLS: a.certs.TLSConfig(), Malformed: a.gateway.Malformed("https"), Log: log,
			TrustedProxies: c.TrustedProxies,
		})
		if err != nil {
			return portError("gateway.tls.address", c.TLS.Address, err)
		}
		if c.TLS.Redirect {
			plain = a.gateway.ToTLS(publicPort(a.tlsServer.Addr().String(), c.TLS.PublicPort))
		}
	}
	a.gatewayServer, err = gateway.NewServer(ctx, gateway.ServerConfig{
		Address: c.Address, Handler: a.front("gateway", plain), Malformed: a.gateway.Malformed("http"), Log: a.log.Named("gateway"),
		TrustedProxies: c.TrustedProxies,
	})
	if err != nil {
		return portError("gateway.address", c.Address, err)
	}
	return nil
}

// tlsAddress is where the gateway speaks TLS; empty: nowhere.
func (a *Agent) tlsAddress() string {
	if a.tlsServer == nil {
		return ""
	}
	return a.tlsServer.Addr().String()
}

// gatewayURL is where a service is met from outside; the gateway itself for "".
func (a *Agent) gatewayURL(service string) string {
	host := a.cfg.Gateway.Domain
	if service != "" {
		host = service + "." + host
	}
	scheme, usual, port := "http", "80", publicPort(a.gatewayServer.Addr().String(), a.cfg.Gateway.PublicPort)
	if a.tlsServer != nil && a.cfg.Gateway.TLS.Redirect { // Callers end up there anyway.
		scheme, usual, port = "https", "443", publicPort(a.tlsAddress(), a.cfg.Gateway.TLS.PublicPort)
	}
	if port != usual {
		host = net.JoinHostPort(host, port)
	}
	return scheme + "://" + host
}

// publicPort is where callers reach a listener: at the port that is mapped to it, if
// any is.
func publicPort(listener string, mapped int) string {
	if mapped != 0 {
		return strconv.Itoa(mapped)
	}
	_, port, _ := net.SplitHostPort(listener) // It listens there.
	return port
}
