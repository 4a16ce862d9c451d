package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/proxy/gateway"
)

const (
	checkTimeout   = 3 * time.Second     // Of all checks together.
	askTimeout     = 4 * time.Second     // Of asking another agent, which makes its checks meanwhile.
	expirySoon     = 14 * 24 * time.Hour // Before a certificate expires.
	maxReport      = 4 << 20             // Bytes of another agent's report.
	maxNamed       = 10                  // Services in one finding.
	reportAge      = 2 * time.Second     // For which a report is told again.
	doctorPath     = "/v1/doctor"
	aboutConsul    = "Consul"
	aboutNomad     = "Nomad"
	aboutCertsPath = "gateway certificates"
)

// checks are what an agent looks at. Each says what it found, also when all is well.
func (a *Agent) checks() []func(context.Context) []wadi.Finding {
	return []func(context.Context) []wadi.Finding{
		a.checkSelf, a.checkConsul, a.checkConsulRights, a.checkStored, a.checkNomad, a.checkNomadRights, a.checkNomadVersion, a.checkIntentions, a.checkCertificates,
	}
}

// reporter makes the agent's report of itself, for many at a time: the metrics
// listener tells it to anybody, who must not make us ask Consul and Nomad as often.
type reporter struct {
	mu   sync.Mutex
	at   time.Time
	last wadi.AgentReport
}

// report is what this agent finds about itself, or found just before.
func (a *Agent) report(ctx context.Context) wadi.AgentReport {
	a.reporter.mu.Lock()
	defer a.reporter.mu.Unlock()
	if time.Since(a.reporter.at) < reportAge {
		return a.reporter.last
	}
	r := wadi.AgentReport{Name: a.cfg.Name, Version: a.deps.Version, GatewayDomain: a.cfg.Gateway.Domain}
	// Whoever asked first may go away; others get the same report.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	checks := a.checks()
	found := make([][]wadi.Finding, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { found[i] = check(ctx) })
	}
	wg.Wait()
	r.Findings = slices.Concat(found...)
	r.Lost = a.members.Lost(time.Now())
	a.reporter.at, a.reporter.last = time.Now(), r
	return r
}

// doctor has all agents look at themselves. Others are asked at their metrics
// listeners, which unlike their APIs are open to other machines.
func (a *Agent) doctor(ctx context.Context) []wadi.AgentReport {
	all := []wadi.AgentReport{{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, other := range a.members.Alive() {
		name := consul.AgentName(other.ID)
		if name == a.cfg.Name {
			continue
		}
		wg.Go(func() {
			r, err := askReport(ctx, other.Meta[consul.MetaMetrics])
			if err == nil && r.Name != name { // As who is asked at a loopback address of his.
				err = fmt.Errorf("at %s answers %s", other.Meta[consul.MetaMetrics], r.Name)
			}
			if err != nil {
				r = wadi.AgentReport{Name: name, Version: other.Meta[consul.MetaVersion], Findings: []wadi.Finding{{
					Level: wadi.LevelFail, About: "agent",
					What:   fmt.Sprintf("%s can't ask it: %v", a.cfg.Name, err),
					Remedy: "let the agents reach each other's metrics listeners (metrics.address); the leader needs that too",
				}}}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, r)
		})
	}
	all[0] = a.report(ctx)
	wg.Wait()
	all[0].Findings = append(slices.Clip(all[0].Findings), lostAgents(all, time.Now())...)
	slices.SortFunc(all[1:], func(a, b wadi.AgentReport) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// askReport reads another agent's report from its metrics listener.
func askReport(ctx context.Context, addr string) (r wadi.AgentReport, err error) {
	if addr == "" {
		return r, errors.New("it has not registered a metrics listener")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+doctorPath, nil)
	if err != nil {
		return r, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return r, fmt.Errorf("it takes connections at %s and does not answer within %s, as one does that hangs or is paused", addr, askTimeout)
	}
	if err != nil {
		return r, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return r, fmt.Errorf("%s answers %s", addr, resp.Status)
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxReport)).Decode(&r)
	return r, err
}

// lostAgents are findings about agents that vanished, unless they answer again.
func lostAgents(reports []wadi.AgentReport, now time.Time) []wadi.Finding {
	answering, all := map[string]bool{}, map[string]wadi.LostAgent{}
	for _, r := range reports {
		answering[r.Name] = true
		for _, l := range r.Lost {
			if before, ok := all[l.Name]; !ok || l.Since.Before(before.Since) {
				all[l.Name] = l
			}
		}
	}
	var out []wadi.Finding
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if answering[name] {
			continue
		}
		out = append(out, wadi.Finding{Level: wadi.LevelWarn, About: "agent " + name,
			What: fmt.Sprintf("it is lost since %s (%s ago): it did not deregister, so it was killed, hangs, or its machine is down",
				day(all[name].Since), now.Sub(all[name].Since).Truncate(time.Second)),
			Remedy: fmt.Sprintf("start it again; a lost agent is reported for %s", membership.LostFor)})
	}
	return out
}

// checkSelf turns the problems that health tells into findings.
func (a *Agent) checkSelf(context.Context) []wadi.Finding {
	var out []wadi.Finding
	for _, p := range a.problems() {
		f := wadi.Finding{Level: wadi.LevelFail, About: "agent", What: p}
		if a.drain.HasBegun() && strings.HasPrefix(p, "draining") {
			f.Level, f.Remedy = wadi.LevelWarn, "restart it, or stop it"
		}
		out = append(out, f)
	}
	if out == nil {
		out = append(out, wadi.Finding{Level: wadi.LevelOK, About: "agent", What: "it is healthy"})
	}
	return out
}

func (a *Agent) checkConsul(ctx context.Context) []wadi.Finding {
	began := time.Now()
	if _, err := a.consul.Leader(ctx); err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: aboutConsul, What: err.Error(),
			Remedy: "look at Consul at " + a.cfg.Consul.Address + " (consul.address); warm requests are served meanwhile"}}
	}
	took := time.Since(began)
	if err := a.store.Check(ctx); err != nil {
		f := wadi.Finding{Level: wadi.LevelFail, About: aboutConsul, What: err.Error()}
		if errors.Is(err, wadi.ErrForbidden) {
			f.What = fmt.Sprintf("the agent's token lacks write on keys below %s: nothing can be stored (%v)", a.cfg.Consul.Prefix, err)
			f.Remedy = fmt.Sprintf("give it key_prefix %q { policy = \"write\" }", a.cfg.Consul.Prefix)
		}
		return []wadi.Finding{f}
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: aboutConsul,
		What: fmt.Sprintf("%s answers in %s, and keys below %s may be written", a.cfg.Consul.Address, took.Round(time.Millisecond), a.cfg.Consul.Prefix)}}
}

// checkStored tells that something stored is not understood. Which it is, the log tells:
// anybody may ask for this.
func (a *Agent) checkStored(context.Context) []wadi.Finding {
	bad := len(a.store.Unreadable())
	if bad == 0 {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelFail, About: aboutConsul,
		What: fmt.Sprintf("%s of the routes and the index %s not understood, so that this agent goes on with what was there before, or without",
			wadi.Quantity(bad, "value"), wadi.Plural(bad, "is", "are")),
		Remedy: "upgrade this agent if a newer Wadi wrote them; its log names each, and why"}}
}

func (a *Agent) checkNomad(ctx context.Context) []wadi.Finding {
	began := time.Now()
	if err := a.nomad.Health(ctx); err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: aboutNomad, What: err.Error(),
			Remedy: "look at Nomad at " + a.cfg.Nomad.Address + " (nomad.address), and at the agent's token"}}
	}
	if unread := a.checkNamespaces(); len(unread) > 0 {
		return unread
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: aboutNomad,
		What: fmt.Sprintf("%s answers in %s", a.cfg.Nomad.Address, time.Since(began).Round(time.Millisecond))}}
}

// checkNamespaces looks for Nomad namespaces with services that this agent is not told
// of, while it is of others.
func (a *Agent) checkNamespaces() []wadi.Finding {
	var out []wadi.Finding
	for _, namespace := range a.watcher.Unwatched() {
		if len(out) == maxNamed {
			break
		}
		out = append(out, wadi.Finding{Level: wadi.LevelFail, About: aboutNomad,
			What:   fmt.Sprintf("namespace %s: nothing is known of its jobs, so its services are neither kept up nor scaled", namespace),
			Remedy: "give the agent's token " + namespacePolicy(namespace)})
	}
	return out
}

// checkIntentions looks for services whose intentions this agent may not read, so that it
// lets no caller in. Intentions that are not read yet are a problem of the start.
func (a *Agent) checkIntentions(context.Context) []wadi.Finding {
	return aboutIntentions(a.guard.Hidden())
}

// aboutIntentions judges the number of services whose intentions may not be read. It
// names none of them: the report is open to everyone.
func aboutIntentions(hidden int) []wadi.Finding {
	if hidden == 0 {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelFail, About: "intentions",
		What: fmt.Sprintf("those of %s may not be read, so that nobody may call through an activator or the gateway; the agent's log names them",
			wadi.Quantity(hidden, "service")),
		Remedy: "give the agent's Consul token service_prefix \"\" { policy = \"read\" intentions = \"read\" }"}}
}

// checkCertificates looks at those of the gateway.
func (a *Agent) checkCertificates(context.Context) []wadi.Finding {
	if a.certs == nil {
		return nil
	}
	return aboutCertificates(a.certs.List(), time.Now())
}

// aboutCertificates judges the gateway's certificates.
func aboutCertificates(all []gateway.Certificate, now time.Time) []wadi.Finding {
	var out []wadi.Finding
	good := 0
	for _, c := range all {
		about := "certificate " + c.Name
		if c.Name == "" {
			about = aboutCertsPath
		}
		add := func(level wadi.Level, what, remedy string) {
			out = append(out, wadi.Finding{Level: level, About: about, What: what, Remedy: remedy})
		}
		if c.Problem != "" {
			what := c.Problem + "; what was there before is in force"
			if c.NotAfter.IsZero() && c.Name != "" {
				what = c.Problem + "; its hosts are not served by it"
			}
			add(wadi.LevelFail, what, "mend the files, they are read again by themselves; an agent that is started with them refuses them")
		}
		left := c.NotAfter.Sub(now)
		switch {
		case c.NotAfter.IsZero():
		case left <= 0:
			add(wadi.LevelFail, fmt.Sprintf("it expired on %s, for %s", day(c.NotAfter), strings.Join(c.Hosts, ", ")), "put a new one in its place")
		case left < expirySoon:
			add(wadi.LevelWarn, fmt.Sprintf("it expires on %s, in %s, for %s", day(c.NotAfter), wadi.Quantity(int(left.Hours()/24), "day"), strings.Join(c.Hosts, ", ")), "put a new one in its place")
		case c.Problem == "":
			good++
		}
		if c.LooseKey != "" {
			add(wadi.LevelWarn, "everybody on the machine may read its key "+c.LooseKey, "chmod o-rwx "+c.LooseKey)
		}
	}
	if good > 0 {
		out = append(out, wadi.Finding{Level: wadi.LevelOK, About: aboutCertsPath, What: fmt.Sprintf("%d %s good for two weeks at least", good, wadi.Plural(good, "is", "are"))})
	}
	return out
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// warnings are the findings that cost no connection, for health.
func (a *Agent) warnings() []string {
	var out []string
	for _, f := range append(a.checkCertificates(context.Background()), a.checkNamespaces()...) {
		if f.Level != wadi.LevelOK {
			out = append(out, f.About+": "+f.What)
		}
	}
	return out
}
