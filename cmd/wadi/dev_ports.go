//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/internal/freeport"
)

// devListener is one listener of an agent for development.
type devListener struct {
	what    string
	setting string // In the configuration.
	flag    string // On the command line; empty: none.
	usual   int    // Its default port; 0: none.
	at      func(config.Config) string
}

func devListeners() []devListener {
	return []devListener{
		{"API", "http.address", "-http-address", 4747, func(c config.Config) string { return c.HTTP.Address }},
		{"metrics", "metrics.address", "-metrics-address", 4748, func(c config.Config) string { return c.Metrics.Address }},
		{"gateway", "gateway.address", "-gateway-address", 8080, func(c config.Config) string { return c.Gateway.Address }},
		{"mesh listener", "activator.address", "-activator-address", 4749, func(c config.Config) string { return c.Activator.Address }},
		{"gateway by HTTPS", "gateway.tls.address", "", 0, func(c config.Config) string { return c.Gateway.TLS.Address }},
	}
}

// devAddresses are the default listeners of an agent for development: the API, metrics and
// the gateway on loopback, where names below localhost resolve to; the mesh listener where
// bridge networks reach it, or on loopback if the host has no other address.
type devAddresses struct {
	http, metrics, gateway, mesh string
	name                         string // Unique among the agents of this machine.
}

// chooseAddresses takes the default ports, and free ports for those in use. This process
// keeps its claim on the ports, so two agents that start at once get different ones.
func chooseAddresses(hostIP string) (devAddresses, error) {
	var addrs []string
	for _, l := range devListeners() {
		host, port := "127.0.0.1", l.usual
		if l.setting == "activator.address" {
			host = hostIP
		}
		if port == 0 {
			continue
		}
		if !freeport.Claim(host, port) {
			free, err := freeport.Ports(1)
			if err != nil {
				return devAddresses{}, fmt.Errorf("choose a port for the %s: %w", l.what, err)
			}
			port = free[0]
		}
		addrs = append(addrs, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	a := devAddresses{http: addrs[0], metrics: addrs[1], gateway: addrs[2], mesh: addrs[3], name: "dev"}
	if _, port, _ := net.SplitHostPort(a.http); port != "4747" {
		a.name = "dev-" + port // The port's user may be an agent of the same cluster.
	}
	return a, nil
}

// checkListeners reports configured addresses that can't be opened, and prints those that
// are not the default.
func (c *call) checkListeners(cfg config.Config, chosen devAddresses) error {
	var errs []error
	for _, l := range devListeners() {
		addr := l.at(cfg)
		if addr == "" {
			continue
		}
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			way := l.setting + " in a file of -config"
			if l.flag != "" {
				way = l.flag + ", or " + way
			}
			errs = append(errs, fmt.Errorf("%s: %w; choose another address with %s", l.what, err, way))
			continue
		}
		_ = listener.Close() // Nothing was accepted.
		_, port, _ := net.SplitHostPort(addr)
		if usual := strconv.Itoa(l.usual); chosen.has(addr) && port != usual {
			c.printf("Port %s is in use: the %s is at %s.\n", usual, l.what, addr)
		}
	}
	return errors.Join(errs...)
}

func (a devAddresses) has(addr string) bool {
	return addr == a.http || addr == a.metrics || addr == a.gateway || addr == a.mesh
}
