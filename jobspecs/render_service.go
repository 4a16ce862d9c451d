package jobspecs

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// service is the Consul service of this instance.
func (r *renderer) service() (object, error) {
	s := &api.Service{
		Name:      r.rev.Service,
		Provider:  api.ServiceProviderConsul,
		PortLabel: wadi.PortTraffic,
		Meta:      map[string]string{"revision": r.rev.ID},
		Checks: []api.ServiceCheck{{
			Name:      "queue-proxy ready",
			Type:      "http",
			Path:      "/ready",
			PortLabel: wadi.PortMetrics,
			Interval:  time.Second,
			Timeout:   time.Second,
		}},
	}
	if r.spec.Mesh != wadi.MeshEnvoy {
		return asObject(s)
	}
	s.PortLabel = strconv.Itoa(wadi.BridgeTrafficPort) // On loopback: Envoy is the only entrance.
	s.Connect = &api.ConsulConnect{SidecarService: &api.ConsulSidecarService{
		DisableDefaultTCPCheck: true, // It runs only every 10 s; the check above is better.
		Proxy:                  r.proxy(),
	}}
	o, err := asObject(s)
	if err != nil {
		return nil, err
	}
	if len(r.agent.SidecarTask) > 0 {
		var task api.SidecarTask // Parsed to refuse invalid ones; kept unchanged.
		if err := json.Unmarshal(r.agent.SidecarTask, &task); err != nil {
			return nil, fmt.Errorf("read the agent's sidecar task: %w", err)
		}
		raw, err := toObject(r.agent.SidecarTask)
		if err != nil {
			return nil, fmt.Errorf("read the agent's sidecar task: %w", err)
		}
		r.pinAs(wadi.PortEnvoy(r.rev.Service), raw)
		boundLogs(raw)
		inner(o, "Connect")["SidecarTask"] = raw
	}
	return o, nil
}

func (r *renderer) proxy() *api.ConsulProxy {
	limit := (r.spec.Timeout.Request.D() + envoyMargin).Milliseconds()
	p := &api.ConsulProxy{Config: map[string]any{
		// Envoy's defaults are 15 s for a request and 300 s without a byte.
		"local_request_timeout_ms": limit,
		"local_idle_timeout_ms":    limit,
	}}
	for _, u := range r.spec.Upstreams {
		p.Upstreams = append(p.Upstreams, &api.ConsulUpstream{DestinationName: u.Service, LocalBindPort: u.LocalPort})
	}
	return p
}
