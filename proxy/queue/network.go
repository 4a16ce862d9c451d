package queue

import (
	"net"
	"slices"
	"strconv"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/queue/diagnosis"
	"github.com/wadi-run/wadi/proxy/queue/firewall"
)

// isBridged reports whether the network is the instance's own: in a bridge network, and
// only there, the ports are these.
func (c Config) isBridged() bool {
	return portOf(c.Admin) == wadi.BridgeAdminPort && portOf(c.Metrics) == wadi.BridgeMetricsPort
}

// diagnosed describes the app to package diagnosis.
func (c Config) diagnosed() diagnosis.Config {
	return diagnosis.Config{
		Target: c.Target, Probe: c.Probe, OwnNetwork: c.isBridged(),
		OtherPorts: append(slices.Clone(c.Upstreams), portOf(c.Listen), portOf(c.Admin), portOf(c.Metrics), portOf(c.Envoy)),
	}
}

// ports are those of a bridge network, for package firewall.
func (c Config) ports() firewall.Ports {
	return firewall.Ports{
		Mesh: []uint16{portOf(c.Envoy), portOf(c.Metrics)}, Mapped: c.Mapped,
		Closed: []uint16{portOf(c.Target), portOf(c.Listen), portOf(c.Admin)},
	}
}

// portOf returns the port of an address; 0 if it has none.
func portOf(hostPort string) uint16 {
	_, port, _ := net.SplitHostPort(hostPort)
	n, _ := strconv.ParseUint(port, 10, 16)
	return uint16(n)
}
