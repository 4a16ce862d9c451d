//go:build e2e

package matrix

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

const (
	instanceDies = "an instance dies in the middle of a request"
	sidecarDies  = "a queue-proxy or an Envoy is killed"
)

// inFlightAtApp allows the requests that an app had when it died. It may have died of one of
// them, so none is sent again.
var inFlightAtApp = Allowed{
	Why: "in flight at the app: 502",
	Is: func(h Hit, r Result) bool {
		return r.Service == h.Service && r.Began.Before(h.Broken) && r.Status == 502
	},
}

// inFlightBehindProxy allows the requests that went through a proxy that died, unless they may
// be repeated.
var inFlightBehindProxy = Allowed{
	Why: "POST in flight at the instance: 502",
	Is: func(h Hit, r Result) bool {
		return r.Service == h.Service && r.Began.Before(h.Broken) && r.Status == 502 && r.Method == "POST"
	},
}

// unreachedInMesh allows calls from the mesh that find an Envoy without what is behind it: a
// caller's Envoy can't know that no app has seen them.
var unreachedInMesh = Allowed{
	Why: "in the mesh, until the instance is back or leaves rotation: Envoy's 503",
	Is: func(h Hit, r Result) bool {
		return r.Via == ViaMesh && r.Service == h.Service && r.Began.After(h.Began.Add(-longest)) && r.Began.Before(h.Settled) && r.Status == 503 && r.Reason == ""
	},
}

func instanceFaults() []Fault {
	var all []Fault
	for _, v := range []struct {
		what, service, program string
		mesh, short            bool
	}{
		{"the app of the only instance", ServiceHost, programApp, false, true},
		{"the app of one of two instances", ServicePair, programApp, false, false},
		{"the app of an instance in the mesh", ServiceMesh, programApp, true, false},
		{"the queue-proxy of the only instance", ServiceHost, programQueue, false, false},
		{"the queue-proxy of one of two instances", ServicePair, programQueue, false, true},
		{"the queue-proxy of an instance in the mesh", ServiceMesh, programQueue, true, false},
		{"the Envoy of an instance", ServiceMesh, programEnvoy, true, true},
	} {
		promise, allowed := sidecarDies, inFlightBehindProxy
		if v.program == programApp {
			promise, allowed = instanceDies, inFlightAtApp
		}
		may := []Allowed{allowed}
		if v.mesh && v.program != programApp {
			may = append(may, unreachedInMesh)
		}
		all = append(all, Fault{
			Name: v.what + " is killed", Group: GroupInstances, Promise: promise, Short: v.short, Mesh: v.mesh,
			Break: func(ctx context.Context, w *World) (func(context.Context) error, error) {
				t, err := w.one(v.service, v.program)
				if err != nil {
					return nil, err
				}
				return nil, signal(ctx, t.pid, syscall.SIGKILL, "Z")
			},
			During:  func(_ context.Context, w *World, _ *Row) error { return w.another(v.service, v.program) },
			Allowed: may,
		}, Fault{
			Name: v.what + " is paused", Group: GroupInstances, Promise: promise, Mesh: v.mesh, For: 5 * time.Second,
			Break: func(ctx context.Context, w *World) (func(context.Context) error, error) {
				t, err := w.one(v.service, v.program)
				if err != nil {
					return nil, err
				}
				return func(context.Context) error { return syscall.Kill(t.pid, syscall.SIGCONT) }, signal(ctx, t.pid, syscall.SIGSTOP, "T")
			},
		})
	}
	return all
}

// another is an error while fewer processes of a program run than the service has instances.
func (w *World) another(service, program string) error {
	all, err := w.tasks(program)
	n := 0
	for _, t := range all {
		if isOf(t.job, service) {
			n++
		}
	}
	if err == nil && n < kept[service] {
		err = fmt.Errorf("%d of %s run in %s, want %d", n, program, service, kept[service])
	}
	return err
}
