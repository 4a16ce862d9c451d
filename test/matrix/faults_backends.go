//go:build e2e

package matrix

import (
	"context"
	"time"

	"github.com/wadi-run/wadi/internal/devcluster/process"
)

// withoutNomad allows requests that need an instance to be started while Nomad can't be
// asked.
var withoutNomad = Allowed{
	Why: "to a service at zero, which nobody can start without Nomad: 503",
	Is: func(_ Hit, r Result) bool {
		return (r.Service == ServiceZero || r.Service == ServiceNaps) && (r.Status == 503 || r.Status == 504)
	},
}

const backendAway = "Nomad or Consul is away"

func backendFaults() []Fault {
	type backend struct {
		name    string
		of      func(*World) *process.Process
		short   bool
		allowed []Allowed
	}
	var all []Fault
	for _, b := range []backend{
		{"Nomad's server", func(w *World) *process.Process { return w.NomadServer }, true, []Allowed{withoutNomad}},
		{"the Nomad client that the agents ask", func(w *World) *process.Process { return w.NomadClient }, false, []Allowed{withoutNomad}},
		{"Consul's server", func(w *World) *process.Process { return w.ConsulServer }, true, nil},
		{"the Consul client of agents and Envoys", func(w *World) *process.Process { return w.ConsulClient }, false, nil},
	} {
		all = append(all, Fault{
			Name: b.name + " is killed, and starts after 8 s", Group: GroupBackends, Promise: backendAway, Short: b.short, For: 8 * time.Second,
			Allowed: b.allowed,
			Break: func(_ context.Context, w *World) (func(context.Context) error, error) {
				return b.of(w).Start, b.of(w).Kill()
			},
		}, Fault{
			Name: b.name + " is paused for 8 s", Group: GroupBackends, Promise: backendAway, For: 8 * time.Second,
			Allowed: b.allowed,
			Break: func(_ context.Context, w *World) (func(context.Context) error, error) {
				return func(context.Context) error { return b.of(w).Resume() }, b.of(w).Pause()
			},
		})
	}
	return all
}
