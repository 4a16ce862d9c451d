package queue

import (
	"context"
	"errors"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/queue/diagnosis"
	"github.com/wadi-run/wadi/proxy/queue/firewall"
)

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
