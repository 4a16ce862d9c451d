package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/policies"
)

const maxNamed = 10 // Namespaces that a report has findings about.

// checkNomad looks whether Nomad answers, and sends events of all namespaces.
func (d *Doctor) checkNomad(ctx context.Context) []wadi.Finding {
	began := time.Now()
	if err := d.Nomad.Health(ctx); err != nil {
		return []wadi.Finding{{Level: wadi.LevelFail, About: aboutNomad, What: err.Error(),
			Remedy: "look at Nomad at " + d.NomadAddress + " (nomad.address), and at the agent's token"}}
	}
	if unread := d.checkNamespaces(); len(unread) > 0 {
		return unread
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: aboutNomad,
		What: fmt.Sprintf("%s answers in %s", d.NomadAddress, time.Since(began).Round(time.Millisecond))}}
}

// checkNamespaces reports Nomad namespaces with services whose events this agent does not
// receive, while it receives those of others.
func (d *Doctor) checkNamespaces() []wadi.Finding {
	var out []wadi.Finding
	for _, namespace := range d.Unwatched() {
		if len(out) == maxNamed {
			break
		}
		out = append(out, wadi.Finding{Level: wadi.LevelFail, About: aboutNomad,
			What:   fmt.Sprintf("namespace %s: nothing is known of its jobs, so its services are neither kept up nor scaled", namespace),
			Remedy: "give the agent's token " + policies.Namespace(namespace).String()})
	}
	return out
}

// checkNomadVersion looks for servers of Nomad that accept two guarded changes of a job at
// once. Without the right to read versions it finds nothing: no other part needs that right.
func (d *Doctor) checkNomadVersion(ctx context.Context) []wadi.Finding {
	servers, err := d.Nomad.ServerVersions(ctx)
	if err != nil {
		return nil // checkNomad reports it.
	}
	return aboutNomadVersions(servers)
}

// aboutNomadVersions judges the versions of Nomad's servers.
func aboutNomadVersions(servers map[string]string) []wadi.Finding {
	var old []string
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		if enforces, known := nomad.EnforcesIndex(servers[name]); known && !enforces && !slices.Contains(old, servers[name]) {
			old = append(old, servers[name])
		}
	}
	if len(old) == 0 {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutNomad,
		What: fmt.Sprintf("its version is %s; before 2.0.1, of several guarded changes of one job at the same moment, more than one may be accepted: "+
			"a count can be another change's until the next pass, within seconds", strings.Join(old, ", ")),
		Remedy: "bring Nomad's servers to 2.0.1 or newer"}}
}
