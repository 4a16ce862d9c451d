// Package doctor examines an agent and what it works with, and says what to do about what
// it finds.
//
// It promises that a report takes a few seconds at most, that it is made at most once in two
// seconds however often it is requested, and that it names no service: every caller that
// Nomad knows may read it, and the agent's log has the names. It changes nothing.
package doctor

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// Path is where an agent serves its report to other agents.
const Path = "/v1/agent/doctor"

const (
	checkTimeout = 3 * time.Second // Of all checks together.
	reportAge    = 2 * time.Second // For which a report is served again.
)

// What findings are about.
const (
	aboutConsul = "Consul"
	aboutNomad  = "Nomad"
)

// Doctor examines one agent. Set all fields before the first call; those that may be nil
// say so. It is safe for concurrent use.
type Doctor struct {
	Name, Version string // Of the agent.
	GatewayDomain func() string
	Prefix        string // Of the installation's keys in Consul.
	ConsulAddress string
	NomadAddress  string

	Consul  *consul.Client
	Nomad   *nomad.Client
	Store   *store.Store
	Members *membership.Members
	Log     hclog.Logger

	Routes       func() map[string]wadi.Route
	Namespaces   func() (all []string, known bool) // Nomad's namespaces that services are in.
	Unwatched    func() []string                   // Those of them whose events are not received, while those of others are.
	Hidden       func() int                        // Services whose intentions may not be read.
	Problems     func() []wadi.Finding             // What keeps the agent from being healthy.
	Certificates func() []gateway.Certificate      // Of the gateway; nil: it speaks no TLS.

	// Domains is what is known of the domains that services claim, and why this agent can't
	// use certificates that are stored; nil: agents obtain none.
	Domains func(ctx context.Context) (all []wadi.Domain, unusable []string, err error)

	// Ask reads a path of another agent's API for agents. It fails with ErrNoWay where the token would be in danger.
	Ask func(ctx context.Context, a consul.Instance, path, token string) (*http.Response, error)

	// CertFiles are the files of certificates that the agent reads besides; nil: none.
	CertFiles func() []CertFile
	// DockerConfig is the file of credentials for registries, empty: none; nil: there is none.
	DockerConfig func() string
	// Leaves is when the agent's certificates of the mesh expire, and for how long they are
	// good in all; nil: there is no mesh.
	Leaves func() (end time.Time, lifetime time.Duration)

	// Assets is what is wrong with the programs that Nomad's clients fetch from agents, and
	// what is right; nil: they fetch none.
	Assets func() []wadi.Finding

	Cluster *Cluster // Nil: it is not examined.

	mu   sync.Mutex
	at   time.Time
	last wadi.AgentReport
}

// Report examines this agent, or returns the report that was made just before.
func (d *Doctor) Report(ctx context.Context) wadi.AgentReport {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.at) < reportAge {
		return d.last
	}
	// The report is for all callers, so it outlives the one that is here first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	checks := d.checks()
	found := make([][]wadi.Finding, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { found[i] = check(ctx) })
	}
	wg.Wait()
	d.at = time.Now()
	d.last = wadi.AgentReport{
		Name: d.Name, Version: d.Version, At: d.at, GatewayDomain: d.GatewayDomain(),
		Findings: slices.Concat(found...), Lost: d.Members.Lost(time.Now()),
	}
	return d.last
}

// checks are run side by side. Each returns what it found, also when all is well.
func (d *Doctor) checks() []func(context.Context) []wadi.Finding {
	known := func(check func() []wadi.Finding) func(context.Context) []wadi.Finding {
		return func(context.Context) []wadi.Finding { return check() }
	}
	return []func(context.Context) []wadi.Finding{
		known(d.checkSelf), d.checkConsul, d.checkConsulRights, known(d.checkStored), d.checkNomad, d.checkNomadRights,
		d.checkNomadVersion, known(d.checkIntentions), known(d.checkCertificates),
		known(d.checkCertFiles), known(d.checkLeaves), known(d.checkDockerConfig), known(d.checkAssets), d.checkImageGC, d.checkDomains,
	}
}

// Warnings are the findings of the checks that need no connection, as text.
func (d *Doctor) Warnings() []string {
	var out []string
	for _, f := range append(d.checkCertificates(), d.checkNamespaces()...) {
		if f.Level != wadi.LevelOK {
			out = append(out, f.About+": "+f.What)
		}
	}
	return out
}

// checkSelf says what keeps the agent from being healthy.
func (d *Doctor) checkSelf() []wadi.Finding {
	if found := d.Problems(); len(found) > 0 {
		return found
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: "agent", What: "it is healthy"}}
}

// checkAssets looks whether Nomad's clients get the programs that revisions fetch.
func (d *Doctor) checkAssets() []wadi.Finding {
	if d.Assets == nil {
		return nil
	}
	return d.Assets()
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
