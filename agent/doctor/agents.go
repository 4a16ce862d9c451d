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

// Reports returns the reports of all agents, this one's first. The others are asked at
// their metrics listeners, which unlike their APIs are open to other machines.
func (d *Doctor) Reports(ctx context.Context) []wadi.AgentReport {
	all := []wadi.AgentReport{{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, a := range d.Members.Alive() {
		if consul.AgentName(a.ID) == d.Name {
			continue
		}
		wg.Go(func() {
			r := d.reportOf(ctx, a)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, r)
		})
	}
	own := d.Report(ctx)
	wg.Wait()
	all[0] = own
	all[0].Findings = append(slices.Clip(own.Findings), lostAgents(all, time.Now())...)
	slices.SortFunc(all[1:], func(a, b wadi.AgentReport) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// reportOf asks another agent. That it can't be asked is a finding.
func (d *Doctor) reportOf(ctx context.Context, a consul.Instance) wadi.AgentReport {
	name, addr := consul.AgentName(a.ID), a.Meta[consul.MetaMetrics]
	r, err := askReport(ctx, addr)
	if err == nil && r.Name != name { // The loopback address of another machine is this machine's.
		err = fmt.Errorf("at %s answers %s", addr, r.Name)
	}
	if err == nil {
		return r
	}
	return wadi.AgentReport{Name: name, Version: a.Meta[consul.MetaVersion], Findings: []wadi.Finding{{
		Level: wadi.LevelFail, About: "agent",
		What:   fmt.Sprintf("%s can't ask it: %v", d.Name, err),
		Remedy: "let the agents reach each other's metrics listeners (metrics.address); the leader needs that too",
	}}}
}

// askReport reads another agent's report from its metrics listener.
func askReport(ctx context.Context, addr string) (r wadi.AgentReport, err error) {
	if addr == "" {
		return r, errors.New("it has not registered a metrics listener")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+Path, nil)
	if err != nil {
		return r, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return r, fmt.Errorf("it takes connections at %s and does not answer within %s, so it hangs or is paused", addr, askTimeout)
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
