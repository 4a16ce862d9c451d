package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/nomad"
)

// checkNomadVersion looks for servers of Nomad that let two changes of a job through at
// once. An agent that may not read versions says nothing: it needs that for nothing else.
func (a *Agent) checkNomadVersion(ctx context.Context) []wadi.Finding {
	servers, err := a.nomad.ServerVersions(ctx)
	if err != nil {
		return nil // Whether Nomad answers is looked at elsewhere.
	}
	return aboutNomadVersions(servers)
}

// aboutNomadVersions judges the versions of Nomad's servers.
func aboutNomadVersions(servers map[string]string) []wadi.Finding {
	var old []string
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		if guards, known := nomad.Guards(servers[name]); known && !guards && !slices.Contains(old, servers[name]) {
			old = append(old, servers[name])
		}
	}
	if len(old) == 0 {
		return nil
	}
	return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutNomad,
		What: fmt.Sprintf("its version is %s; before 2.0.1 several changes of one job at the same moment may all be taken though one was meant to be: "+
			"a count can be the other one's until Wadi looks again, within seconds", strings.Join(old, ", ")),
		Remedy: "bring Nomad's servers to 2.0.1 or newer"}}
}
