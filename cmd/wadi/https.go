//go:build linux

package main

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
			TrustedProxies: c.TrustedProxies,
		})
		if err != nil {
			return portError("gateway.tls.address", c.TLS.Address, err)
		}
		if c.TLS.Redirect {
			plain = n.gateway.ToTLS(publicPort(n.tlsServer.Addr().String(), c.TLS.PublicPort))
		}
	}
	n.gatewayServer, err = gateway.NewServer(ctx, gateway.ServerConfig{
		Address: c.Address, Handler: n.front("gateway", plain), Malformed: n.gateway.Malformed("http"), Log: n.log.Named("gateway"),
		TrustedProxies: c.TrustedProxies,
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
	scheme, usual, port := "http", "80", publicPort(n.gatewayServer.Addr().String(), n.cfg.Gateway.PublicPort)
	if n.tlsServer != nil && n.cfg.Gateway.TLS.Redirect { // Callers end up there anyway.
		scheme, usual, port = "https", "443", publicPort(n.tlsAddress(), n.cfg.Gateway.TLS.PublicPort)
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
