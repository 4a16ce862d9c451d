//go:build e2e

package matrix

import (
	"context"
	"fmt"
	"time"

	"github.com/wadi-run/wadi/internal/devcluster/process"
)

// saveEvery is how often a Nomad client saves what it knows of the networks of its
// allocations. When it is killed it restarts those in bridge networks that it has not saved
// ("network already configured but not found in state"; Nomad 1.11.3).
const saveEvery = time.Minute

// saved waits until Nomad has saved all bridge networks: until none of them is younger.
func (w *World) saved(ctx context.Context) error {
	all, _, err := w.Nomad.Allocations().List(w.everywhere(ctx))
	if err != nil {
		return fmt.Errorf("list allocations: %w", err)
	}
	var youngest time.Time
	for _, a := range all {
		if at := time.Unix(0, a.CreateTime); a.ClientStatus == "running" && (a.JobID == "callers" || isOf(a.JobID, ServiceMesh)) && at.After(youngest) {
			youngest = at
		}
	}
	wait(ctx, time.Until(youngest.Add(saveEvery+10*time.Second)))
	return ctx.Err()
}

const backendAway = "Nomad or Consul is away"

func backendFaults() []Fault {
	type backend struct {
		name  string
		of    func(*World) *process.Process
		short bool
	}
	var all []Fault
	for _, b := range []backend{
		{"Consul's server", func(w *World) *process.Process { return w.ConsulServer }, true},
		{"the Consul client of agents and Envoys", func(w *World) *process.Process { return w.ConsulClient }, false},
		{"Nomad's server", func(w *World) *process.Process { return w.NomadServer }, true},
		{"the Nomad client that the agents ask", func(w *World) *process.Process { return w.NomadClient }, false},
	} {
		all = append(all, Fault{
			Name: b.name + " is killed, and started again", Group: GroupBackends, Promise: backendAway, Short: b.short, For: 8 * time.Second,
			Break: func(ctx context.Context, w *World) (func(context.Context) error, error) {
				if err := w.saved(ctx); err != nil {
					return nil, err
				}
				return b.of(w).Start, b.of(w).Kill()
			},
		}, Fault{
			Name: b.name + " is paused", Group: GroupBackends, Promise: backendAway, For: 8 * time.Second,
			Break: func(_ context.Context, w *World) (func(context.Context) error, error) {
				return func(context.Context) error { return b.of(w).Resume() }, b.of(w).Pause()
			},
		})
	}
	return all
}
