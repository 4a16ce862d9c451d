package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/apitls"
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
	tls      *apitls.Source // Nil: plain HTTP.
}

// openAPI makes the API and opens its listener.
func (a *Agent) openAPI(ctx context.Context) error {
	own, err := a.loadAPITLS()
	if err != nil {
		return err
	}
	limiter := connlimit.New(maxAPIConns, nil)
	peers := newChannel(a.cfg.Name, a.mesh, own, !a.cfg.HTTP.TLS.Enabled() && !onLoopback(a.cfg.HTTP.Address))
	a.doctor.Ask = peers.get
	srv, err := a.newAPI(limiter, own, peers)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.HTTP.Address)
	if err != nil {
		return portError("http.address", a.cfg.HTTP.Address, err)
	}
	a.api = &apiPlane{server: srv, peers: srv.Peers(a.drainer.Begun()), listener: limiter.Listener(l), tls: own}
	a.opened.push("API listener", func() { _ = l.Close() })
	return nil
}

// loadAPITLS reads the files of http.tls. Nil: there are none.
func (a *Agent) loadAPITLS() (*apitls.Source, error) {
	c := a.cfg.HTTP.TLS
	if !c.Enabled() {
		return nil, nil
	}
	own, err := apitls.Load(apitls.Files{Cert: c.CertFile, Key: c.KeyFile, CA: c.CAFile, VerifyClient: c.VerifyClient}, a.log.Named("api"))
	if err != nil {
		return nil, fmt.Errorf("http.tls: %w", err)
	}
	return own, nil
}

func (a *Agent) newAPI(limiter *connlimit.Limiter, own *apitls.Source, peers *channel) (*server.Server, error) {
	c := a.cfg
	adm, err := a.newAdmission()
	if err != nil {
		return nil, err
	}
	cfg := server.Config{
		Self: api.Self{
			Name: c.Name, Version: a.deps.Version, API: c.HTTP.Address,
			Gateway: a.front.gateway.Addr().String(), GatewayTLS: a.front.tlsAddress(), GatewayDomain: c.Gateway.Domain, Metrics: c.Metrics.Address,
		},
		Auth: c.HTTP.Auth, Admission: adm, Store: a.store, Rights: apiNomad{a.nomad},
		Changes: a.changes, Decisions: a.decisions, Events: a.events,
		Leadership: a.leadership, Transport: peers,
		LeaderURL: func() (string, error) { return peers.address(a.leadership.current()) },
		Problems:  a.health.problems, Warnings: a.doctor.Warnings, Doctor: a.doctor.Reports, Report: a.doctor.Report,
		Admin: a.admin(), MayAdmin: a.nomad.MayAdminister,
		MaxSpecBytes: c.Limits.MaxSpecBytes, MaxInstances: c.Limits.MaxInstances,
		Log: a.log.Named("api"), Registerer: a.reg, ConnState: limiter.ConnState,
	}
	if own != nil {
		cfg.TLS, cfg.Self.APITLS = own.ServerConfig(), true
	}
	return server.New(cfg)
}

func (a *Agent) newAdmission() (*admission.Admission, error) {
	c := a.cfg
	webhooks, err := openWebhooks(c.Webhooks, webhook.NewMetrics(a.reg))
	if err != nil {
		return nil, err
	}
	for _, w := range webhooks {
		a.opened.push("connections to admission webhook "+w.Name, w.Close)
	}
	return admission.New(admission.Config{
		Store: a.store, Nomad: apiNomad{a.nomad}, Catalog: catalog{a.consul}, Entries: entries{&mesh.Layer{Entries: a.consul}},
		Intentions: a.consul, AllowIntentions: c.Consul.AllowIntentions,
		Rules: c.AdmissionRules, Webhooks: webhooks,
		Defaults: c.Defaults, Limits: c.Limits, MaxBytes: c.Limits.MaxSpecBytes, GatewayDomain: c.Gateway.Domain,
		Agent: jobspecs.Agent{
			QueueProxyTask: c.QueueProxyTask, SidecarTask: c.SidecarTask, GatewayURL: a.front.url(""),
			AccessLog: c.Telemetry.AccessLog, Shield: c.Mesh.Shield,
		},
		Installation: a.installation.name,
		Log:          a.log.Named("admission"),
	})
}

// openWebhooks makes the webhooks of the configuration.
func openWebhooks(all []config.Webhook, m *webhook.Metrics) (webhooks []*webhook.Webhook, err error) {
	for _, c := range all {
		w, err := webhook.New(webhook.Config{
			Name: c.Name, URL: c.URL, Mutate: c.Kind == config.KindMutate, Require: c.OnFailure != config.OnFailureIgnore,
			Timeout: c.Timeout, CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, Metrics: m,
		})
		if err != nil {
			return nil, err
		}
		webhooks = append(webhooks, w)
	}
	return webhooks, nil
}

// run serves the API until ctx ends.
func (p *apiPlane) run(ctx context.Context) error { return p.server.Serve(ctx, p.listener) }
