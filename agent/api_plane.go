package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/apitls"
	"github.com/wadi-run/wadi/proxy/connlimit"
)

// maxAPIConns bounds the open connections of the API. New ones close idle ones.
const maxAPIConns = 1024

// apiPlane is the agent's API and its listener.
type apiPlane struct {
	server    *server.Server
	admission *admission.Admission
	peers     http.Handler // The part of the API that is for other agents.
	listener  net.Listener
	tls       *apitls.Source // Nil: plain HTTP.
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
	adm, err := a.newAdmission()
	if err != nil {
		return err
	}
	srv, err := a.newAPI(adm, limiter, own, peers)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.HTTP.Address)
	if err != nil {
		return portError("http.address", a.cfg.HTTP.Address, err)
	}
	a.api = &apiPlane{server: srv, admission: adm, peers: srv.Peers(a.drainer.Begun()), listener: limiter.Listener(l), tls: own}
	a.opened.push("API listener", func() { _ = l.Close() })
	return nil
}

// loadAPITLS reads the files of http.tls. Nil: there are none.
func (a *Agent) loadAPITLS() (*apitls.Source, error) {
	c := a.cfg.HTTP.TLS
	if !c.Enabled() {
		return nil, nil
	}
	own, err := apitls.Load(apiFiles(c), a.log.Named("api"))
	if err != nil {
		return nil, fmt.Errorf("http.tls: %w", err)
	}
	a.reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_api_certificate_remaining_seconds", Help: "Time until the certificate of the API expires; negative: it has.",
		}, func() float64 { return time.Until(own.Status().NotAfter).Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_api_certificate_problems", Help: "1 if the files of the API's certificate can't be used, and what was there before is; else 0.",
		}, func() float64 {
			if own.Status().Problem != "" {
				return 1
			}
			return 0
		}),
	)
	return own, nil
}

func apiFiles(c config.HTTPTLS) apitls.Files {
	return apitls.Files{Cert: c.CertFile, Key: c.KeyFile, CA: c.CAFile, VerifyClient: c.VerifyClient}
}

func (a *Agent) newAPI(adm *admission.Admission, limiter *connlimit.Limiter, own *apitls.Source, peers *channel) (*server.Server, error) {
	c := a.cfg
	cfg := server.Config{
		Self: api.Self{
			Name: c.Name, Version: a.deps.Version, API: c.HTTP.Address,
			Gateway: a.front.gateway.Addr().String(), GatewayTLS: a.front.tlsAddress(), Metrics: c.Metrics.Address,
		},
		Auth: c.HTTP.Auth, Admission: adm, Store: a.store, Rights: apiNomad{a.nomad}, ACLs: a.nomad.ACLs,
		Changes: a.changes, AddLoad: a.leadership.addLoad, Outcomes: a.leadership.outcomesOf, Decisions: a.decisions, Events: a.events,
		Leadership: a.leadership, Transport: peers,
		LeaderURL: func() (string, error) { return peers.address(a.leadership.current()) },
		Ready:     func() bool { return a.health.unready() == "" },
		Problems:  a.health.problems, Warnings: a.doctor.Warnings, Doctor: a.doctor.Reports, Report: a.doctor.Report,
		Admin: a.admin(), MayAdmin: a.nomad.MayAdminister,
		Settings: apiSettings(c),
		Log:      a.log.Named("api"), Registerer: a.reg, ConnState: limiter.ConnState,
	}
	if a.deps.Load != nil {
		cfg.Reload = a.Reload
	}
	if own != nil {
		cfg.TLS, cfg.Self.APITLS, cfg.HasName = own.ServerConfig(), true, own.HasName
	}
	return server.New(cfg)
}

func (a *Agent) newAdmission() (*admission.Admission, error) {
	c := a.cfg
	a.webhooks = &webhooks{metrics: webhook.NewMetrics(a.reg)}
	a.opened.push("connections to admission webhooks", a.webhooks.close)
	all, err := a.webhooks.open(c.Webhooks)
	if err != nil {
		return nil, err
	}
	a.webhooks.use(all)
	return admission.New(admission.Config{
		Store: a.store, Nomad: apiNomad{a.nomad}, Catalog: catalog{a.consul}, Entries: entries{&mesh.Layer{Entries: a.consul}},
		Registries: registries{a.registries}, Intentions: a.consul, Settings: admissionSettings(c, a.front.urlBy(c.Gateway, ""), all, a.download(c.Assets)),
		Installation: a.installation.name,
		Log:          a.log.Named("admission"),
	})
}

// run serves the API until ctx ends.
func (p *apiPlane) run(ctx context.Context) error { return p.server.Serve(ctx, p.listener) }
