package main

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/wadi-run/wadi/proxy/gateway"
)

// wireGateway opens the gateway's listeners: the plain one, and one for TLS where
// there are certificates.
func (n *node) wireGateway(ctx context.Context) (err error) {
	c := n.cfg.Gateway
	var plain http.Handler = n.gateway
	if c.TLS.Enabled() {
		log := n.log.Named("gateway")
		if n.certs, err = gateway.LoadCertificates(c.TLS.CertDir, log, n.reg); err != nil {
			return fmt.Errorf("gateway.tls.cert_dir: %w", err)
		}
		n.tlsServer, err = gateway.NewServer(ctx, gateway.ServerConfig{
			Address: c.TLS.Address, Handler: n.front("gateway", n.gateway.OverTLS(n.certs)), TLS: n.certs.TLSConfig(), Malformed: n.gateway.Malformed("https"), Log: log,
		})
		if err != nil {
			return portError("gateway.tls.address", c.TLS.Address, err)
		}
		if c.TLS.Redirect {
			_, port, _ := net.SplitHostPort(n.tlsServer.Addr().String())
			plain = n.gateway.ToTLS(port)
		}
	}
	n.gatewayServer, err = gateway.NewServer(ctx, gateway.ServerConfig{
		Address: c.Address, Handler: n.front("gateway", plain), Malformed: n.gateway.Malformed("http"), Log: n.log.Named("gateway"),
	})
	if err != nil {
		return portError("gateway.address", c.Address, err)
	}
	return nil
}

// tlsAddress is where the gateway speaks TLS; empty: nowhere.
func (n *node) tlsAddress() string {
	if n.tlsServer == nil {
		return ""
	}
	return n.tlsServer.Addr().String()
}

// gatewayURL is where a service is met from outside; the gateway itself for "".
func (n *node) gatewayURL(service string) string {
	host := n.cfg.Gateway.Domain
	if service != "" {
		host = service + "." + host
	}
	scheme, usual, addr := "http", "80", n.gatewayServer.Addr().String()
	if n.tlsServer != nil && n.cfg.Gateway.TLS.Redirect { // Callers end up there anyway.
		scheme, usual, addr = "https", "443", n.tlsAddress()
	}
	if _, port, err := net.SplitHostPort(addr); err == nil && port != usual {
		host = net.JoinHostPort(host, port)
	}
	return scheme + "://" + host
}
