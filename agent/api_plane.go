package agent

import (
	"context"
	"net"
	"net/http"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/proxy/connlimit"
)

// maxAPIConns bounds the open connections of the API. New ones close idle ones.
const maxAPIConns = 1024

// apiPlane is the agent's API and its listener.
type apiPlane struct {
	server   *server.Server
	peers    http.Handler // The part of the API that is for other agents.
	listener net.Listener
}

// openAPI makes the API and opens its listener.
func (a *Agent) openAPI(ctx context.Context) error {
	limiter := connlimit.New(maxAPIConns, nil)
	srv, err := a.newAPI(limiter)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.HTTP.Address)
	if err != nil {
		return portError("http.address", a.cfg.HTTP.Address, err)
	}
	a.api = &apiPlane{server: srv, peers: srv.Peers(a.drainer.Begun()), listener: limiter.Listener(l)}
	a.opened.push("API listener", func() { _ = l.Close() })
	return nil
}

func (a *Agent) newAPI(limiter *connlimit.Limiter) (*server.Server, error) {
	c := a.cfg
	adm, err := a.newAdmission()
	if err != nil {
		return nil, err
	}
	return server.New(server.Config{
		Self: api.Self{
			Name: c.Name, Version: a.deps.Version, API: c.HTTP.Address,
			Gateway: a.front.gateway.Addr().String(), GatewayTLS: a.front.tlsAddress(), GatewayDomain: c.Gateway.Domain, Metrics: c.Metrics.Address,
		},
		Auth: c.HTTP.Auth, Admission: adm, Store: a.store, Rights: apiNomad{a.nomad},
		Decisions: a.decisions, Events: a.events,
		Leadership: a.leadership, LeaderURL: a.leadership.address, Transport: peerTransport(a.mesh),
		Problems: a.health.problems, Warnings: a.doctor.Warnings, Doctor: a.doctor.Reports,
		Admin: a.admin(), MayAdmin: a.nomad.MayAdminister,
		MaxSpecBytes: c.Limits.MaxSpecBytes, MaxInstances: c.Limits.MaxInstances,
		Log: a.log.Named("api"), Registerer: a.reg, ConnState: limiter.ConnState,
	})
}

func (a *Agent) newAdmission() (*admission.Admission, error) {
	c := a.cfg
	return admission.New(admission.Config{
		Store: a.store, Nomad: apiNomad{a.nomad}, Catalog: catalog{a.consul},
		Intentions: a.consul, AllowIntentions: c.Consul.AllowIntentions,
		Defaults: c.Defaults, Limits: c.Limits, MaxBytes: c.Limits.MaxSpecBytes, GatewayDomain: c.Gateway.Domain,
		Agent: jobspecs.Agent{
			QueueProxyTask: c.QueueProxyTask, SidecarTask: c.SidecarTask, GatewayURL: a.front.url(""),
			AccessLog: c.Telemetry.AccessLog, Shield: c.Mesh.Shield,
		},
		Installation: a.installation.name,
		Log:          a.log.Named("admission"),
	})
}

// run serves the API until ctx ends.
func (p *apiPlane) run(ctx context.Context) error { return p.server.Serve(ctx, p.listener) }
