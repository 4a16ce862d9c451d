package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/acme"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/proxy/gateway"
)

var (
	_ gateway.Domains       = (*acme.Holder)(nil)
	_ control.DomainReports = (*acme.Orderer)(nil)
)

// domains is what an agent needs to obtain and to serve certificates of custom domains. A
// nil one does neither.
type domains struct {
	agent     *Agent
	rules     acme.Rules
	sealer    acme.Sealer
	authority *acme.Authority
	holder    *acme.Holder
	metrics   *acme.Metrics

	claims atomic.Pointer[map[string]string] // The service that claims each domain.
}

// openDomains reads the files of gateway.tls.acme.
func (a *Agent) openDomains(context.Context) error {
	c := a.cfg.Gateway.TLS.ACME
	if !c.Enabled() {
		return nil
	}
	d := &domains{agent: a, rules: acmeRules(c)}
	var err error
	if d.sealer, err = acme.LoadSealer(c.EncryptionKeyFile); err != nil {
		return fmt.Errorf("gateway.tls.acme.encryption_key_file: %w", err)
	}
	d.authority, err = acme.NewAuthority(acme.AuthorityConfig{
		Directory: c.Directory, CAFile: c.CAFile, Email: c.Email, Version: a.deps.Version,
		EABKeyID: c.EABKeyID, EABMACKeyFile: c.EABMACKeyFile,
	})
	if err != nil {
		return err
	}
	d.claims.Store(&map[string]string{})
	d.holder = acme.NewHolder(a.store, d.sealer, d.claimed, a.log.Named("acme"), a.reg)
	d.metrics = acme.NewMetrics(a.reg)
	a.domains = d
	return nil
}

func acmeRules(c config.ACME) acme.Rules {
	return acme.Rules{
		Directory: c.Directory, Challenges: c.Challenges, RenewBefore: c.RenewBefore,
		MaxDomains: c.MaxDomains, OrdersPerHour: c.OrdersPerHour,
	}
}

// claims are the public services that claim each domain, by their routes. Where two do, the
// first by name has it, as at the gateway.
func claims(routes map[string]wadi.Route) map[string]string {
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		r := routes[name]
		if r.Visibility != wadi.Public || r.Deleted() {
			continue
		}
		for _, domain := range r.Domains {
			if out[domain] == "" {
				out[domain] = r.Service
			}
		}
	}
	return out
}

// forGateway is what the gateway gets its certificates from; nil: from nothing.
func (d *domains) forGateway() gateway.Domains {
	if d == nil {
		return nil
	}
	return d.holder
}

// setRoutes takes in the routes of all services.
func (d *domains) setRoutes(routes map[string]wadi.Route) {
	if d == nil {
		return
	}
	now := claims(routes)
	if before := d.claims.Swap(&now); !maps.Equal(*before, now) {
		d.holder.Notify()
	}
}

// claimed reports whether a public service claims a domain.
func (d *domains) claimed(domain string) bool { return (*d.claims.Load())[domain] != "" }

// newOrderer returns the orderer of a term.
func (d *domains) newOrderer(w *store.Writer, tell func(service string)) *acme.Orderer {
	return &acme.Orderer{
		Rules: d.rules, Email: d.agent.cfg.Gateway.TLS.ACME.Email, Stored: w, Issuer: d.authority, Sealer: d.sealer,
		Claims: func() map[string]string { return *d.claims.Load() }, Folder: d.inFolder,
		News: d.holder.News(), Tell: tell, Log: d.agent.log.Named("acme"), Metrics: d.metrics,
	}
}

// inFolder reports whether gateway.tls.cert_dir has a certificate for a domain.
func (d *domains) inFolder(domain string) bool { return d.agent.front.certs.Covers(domain) }

// tell has the status of a service made anew. Before the controller's first look it is made
// anyway.
func (t *term) tell(service string) {
	if t.controller.Services() != nil {
		t.controller.Touch(service)
	}
}

// orderCertificates orders once the routes are known: before, no domain would be claimed.
func (t *term) orderCertificates(ctx context.Context) error {
	defer t.domains.metrics.Clear()
	if t.routing.ready(ctx) != nil {
		return nil // The term is over.
	}
	return t.orderer.Run(ctx)
}

// survey is what is known of all claimed domains, whichever agent leads, and why certificates
// that are stored can't be used by this one.
func (d *domains) survey(ctx context.Context) (all []wadi.Domain, unusable []string, err error) {
	known, err := acme.Look(ctx, d.agent.store, d.sealer, *d.claims.Load(), d.inFolder)
	if err != nil {
		return nil, nil, err
	}
	of := acme.MakePlan(d.rules, known, time.Now()).Domain
	for _, name := range slices.Sorted(maps.Keys(of)) {
		all = append(all, of[name])
	}
	for _, h := range d.holder.List() {
		if h.Problem != "" {
			unusable = append(unusable, h.Problem)
		}
	}
	return all, unusable, nil
}
