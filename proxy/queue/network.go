package queue

import (
	"context"
	"errors"
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

// shield is the state of the firewall, which is raised before anything is served.
type shield struct {
	up      bool
	failure string // Why it is not up although the configuration asks for it.
}

// raiseShield raises the firewall if the configuration asks for it, and logs once if
// that fails: the instance serves all the same.
func (p *Proxy) raiseShield(ctx context.Context) {
	if !p.cfg.Shield {
		return
	}
	err := errors.New("it has no bridge network of its own") // The agent renders no such job.
	if p.cfg.isBridged() {
		err = p.cfg.ports().Raise(ctx, firewall.NamespacesOf(p.cfg.Instance))
	}
	if err != nil {
		p.shield.failure = wadi.OneLine(err.Error(), diagnosis.MaxText)
		p.log.Warn("the instance can't be shielded; it serves all the same", "reason", p.shield.failure)
		return
	}
	p.shield.up = true
	p.log.Info("the instance is shielded: its network lets in Envoy's calls, the metrics port and the ports that it maps")
}

// exposed lists where the app can be reached past the queue-proxy although all calls
// should come through Envoy; "" if nowhere, or if the firewall is up.
func (p *Proxy) exposed() string {
	if p.cfg.Envoy == "" || !p.cfg.isBridged() || p.shield.up {
		return ""
	}
	return p.diagnosis.Exposed()
}
