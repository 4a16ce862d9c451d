package doctor

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
)

const (
	askTimeout = 4 * time.Second // For another agent's report: longer than checkTimeout.
	maxReport  = 4 << 20         // Bytes of another agent's report.
)

// ErrNoWay says that an agent can't be asked without danger to the caller's token.
var ErrNoWay = errors.New("there is no safe way to it")

// Reports returns the reports of all agents, this one's first. The others are asked with a
// caller's token, by which they judge the caller where agents have no identity.
func (d *Doctor) Reports(ctx context.Context, token string) []wadi.AgentReport {
	all := []wadi.AgentReport{{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, a := range d.Members.Alive() {
		if consul.AgentName(a.ID) == d.Name {
			continue
		}
		wg.Go(func() {
			r := d.reportOf(ctx, a, token)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, r)
		})
	}
	var cluster []wadi.Finding
	if d.Cluster != nil {
		wg.Go(func() { cluster = d.Cluster.findings(ctx) })
	}
	own := d.Report(ctx)
	wg.Wait()
	all[0] = own
	all[0].Findings = slices.Concat(own.Findings, cluster, lostAgents(all, time.Now()))
	slices.SortFunc(all[1:], func(a, b wadi.AgentReport) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// reportOf asks another agent. That it can't be asked is a finding.
func (d *Doctor) reportOf(ctx context.Context, a consul.Instance, token string) wadi.AgentReport {
	name := consul.AgentName(a.ID)
	began := time.Now()
	r, err := d.askReport(ctx, a, token)
	if err == nil && r.Name != name { // The loopback address of another machine is this machine's.
		err = fmt.Errorf("where it should be answers %s", r.Name)
	}
	if err == nil {
		r.Findings = append(r.Findings, aboutAgentClock(r.At, began, time.Now())...)
		return r
	}
	found := wadi.Finding{
		Level: wadi.LevelFail, About: "agent", What: fmt.Sprintf("%s can't ask it: %v", d.Name, err),
		Remedy: "let the agents reach each other's mesh listeners (activator.address), or without Consul Connect their APIs (http.address)",
	}
	if errors.Is(err, ErrNoWay) { // Nothing else is wrong, and the error names the remedy.
		found.Level, found.Remedy = wadi.LevelWarn, ""
	}
	return wadi.AgentReport{Name: name, Version: a.Meta[consul.MetaVersion], Findings: []wadi.Finding{found}}
}

// askReport reads another agent's report.
func (d *Doctor) askReport(ctx context.Context, a consul.Instance, token string) (r wadi.AgentReport, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := d.Ask(ctx, a, Path, token)
	if errors.Is(err, context.DeadlineExceeded) {
		return r, fmt.Errorf("it does not answer within %s, so it hangs or is paused, or a firewall drops what is sent to it", askTimeout)
	}
	if err != nil {
		return r, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReport))
	if err != nil {
		return r, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return r, json.Unmarshal(body, &r)
	case http.StatusUnauthorized, http.StatusForbidden:
		return r, fmt.Errorf("it refuses this caller (%s): send a Nomad token", resp.Status)
	}
	return r, fmt.Errorf("it answers %s", resp.Status)
}

// lostAgents are findings about agents that vanished and do not answer again.
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
