package jobspecs

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// Agent has the agent's settings that are frozen into a revision's job.
type Agent struct {
	// QueueProxyTask is the Nomad task of the queue-proxy, in JSON, as [ParseTask] returns
	// it. Render sets its name, leader, kill signal, kill timeout and the WADI_ variables.
	QueueProxyTask json.RawMessage
	// Download makes instances fetch the queue-proxy's program. Zero: the task names it.
	Download Download
	// Installation distinguishes the jobs of this installation of Wadi from those of
	// others. Empty: unknown, and not in the job.
	Installation string
	// SidecarTask is the body of the Nomad task that runs Envoy; nil is Nomad's own.
	SidecarTask json.RawMessage
	// GatewayURL is the gateway's domain as seen from outside, for instance
	// http://wadi.localhost:8080. The link in Nomad's UI puts the service's name before
	// the host. Empty: no link.
	GatewayURL string
	// LogLevel and AccessLog are the queue-proxy's. Empty is its default.
	LogLevel  string
	AccessLog bool
	// Shield makes instances of services in the mesh accept only Envoy's callers, readers
	// of the metrics, and callers of mapped ports.
	Shield bool
}

// Constants of every revision's job.
const (
	// The bounds of the scaling block are outside any bound of Wadi's, so that Nomad never
	// refuses a count.
	scalingMax    = 10_000
	shutdownDelay = 2 * time.Second // Callers' Envoys learn within this time that the instance ends.
	killMargin    = 10 * time.Second
	envoyMargin   = 5 * time.Second // Envoy ends a request after the queue-proxy, which reports why.

	// Used unless the user sets them. A disk must be larger than any task's logs.
	diskMB      = 10
	logFiles    = 2
	logFileMB   = 4
	diskSpareMB = 2
)

// Render makes the Nomad job of a revision, in JSON (api.Job), with count 0. It is called
// once per revision, and always returns the same bytes.
func Render(rev wadi.Revision, a Agent) (json.RawMessage, error) {
	r := &renderer{rev: rev, spec: rev.Spec, agent: a}
	group, err := r.group()
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", rev.ID, err)
	}
	job, err := asObject(r.job())
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", rev.ID, err)
	}
	job["TaskGroups"] = []any{group}
	data, err := json.Marshal(job)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", rev.ID, err)
	}
	return data, nil
}

type renderer struct {
	rev   wadi.Revision
	spec  wadi.Service
	agent Agent
}

func (r *renderer) job() *api.Job {
	// Fixed for the revision: a change of meta would replace every instance.
	meta := map[string]string{
		"wadi_service":   r.rev.Service,
		"wadi_revision":  r.rev.ID,
		"wadi_spec_hash": r.rev.SpecHash,
	}
	if r.agent.Installation != "" {
		meta["wadi_installation"] = r.agent.Installation
	}
	for _, i := range r.rev.Images {
		if i.Resolved() && !wadi.OwnTask(i.Task) {
			meta["wadi_image_"+i.Task] = i.Name + "@" + i.Digest
		}
	}
	return &api.Job{
		ID:          new(r.rev.ID),
		Name:        new(r.rev.ID),
		Type:        new("service"),
		Namespace:   new(r.spec.Namespace),
		Datacenters: r.spec.Datacenters,
		NodePool:    new(r.spec.NodePool),
		Priority:    new(r.spec.Priority),
		Update:      r.update(),
		Meta:        meta,
		UI:          r.ui(),
	}
}

// nomadsProgressDeadline is Nomad's default for a job without one.
const nomadsProgressDeadline = 10 * time.Minute

// update switches deployments off: while one runs, Nomad refuses to scale. Nevertheless it
// refuses a task whose end may take longer than a deployment.
func (r *renderer) update() *api.UpdateStrategy {
	u := &api.UpdateStrategy{MaxParallel: new(0)}
	if kill := r.spec.Timeout.Request.D() + killMargin; kill > nomadsProgressDeadline {
		u.ProgressDeadline = new(kill + time.Minute)
	}
	return u
}

func (r *renderer) ui() *api.JobUIConfig {
	ui := &api.JobUIConfig{Description: fmt.Sprintf(
		"Revision %d of Wadi service **%s**%s. Wadi sets its count by the requests that come in, down to zero when none do. To change it, submit the service to Wadi: what is changed here is put back.",
		r.rev.Number, r.rev.Service, r.servingImage())}
	if u, err := url.Parse(r.agent.GatewayURL); err == nil && u.Host != "" && r.spec.Visibility == wadi.Public {
		u.Host = r.rev.Service + "." + u.Host
		ui.Links = []*api.JobUILink{{Label: "Call " + r.rev.Service, URL: u.String()}}
	}
	return ui
}

// group is the user's group with Wadi's parts.
func (r *renderer) group() (object, error) {
	g, err := toObject(r.spec.Instance)
	if err != nil {
		return nil, fmt.Errorf("read instance: %w", err)
	}
	resolve(g, r.given())
	tasks, err := r.tasks(g)
	if err != nil {
		return nil, err
	}
	parts, err := asObject(&api.TaskGroup{
		Name:          new(wadi.GroupInstance),
		Count:         new(0),
		ShutdownDelay: new(shutdownDelay),
		Scaling: &api.ScalingPolicy{
			Enabled: new(true), Min: new(int64(0)), Max: new(int64(scalingMax)), Policy: map[string]any{},
		},
		Networks:         []*api.NetworkResource{r.network()},
		RestartPolicy:    &api.RestartPolicy{Attempts: new(3), Interval: new(time.Minute), Delay: new(time.Second), Mode: new("fail")},
		ReschedulePolicy: &api.ReschedulePolicy{Delay: new(5 * time.Second), DelayFunction: new("exponential"), MaxDelay: new(time.Minute), Unlimited: new(true)},
		EphemeralDisk:    &api.EphemeralDisk{SizeMB: new(diskFor(tasks))},
	})
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"RestartPolicy", "ReschedulePolicy", "EphemeralDisk"} {
		if _, set := g[key]; set {
			delete(parts, key)
		}
	}
	withPorts(parts["Networks"], g["Networks"])
	for key, v := range parts {
		g[key] = v
	}
	g["Tasks"] = tasks

	service, err := r.service()
	if err != nil {
		return nil, err
	}
	if err := r.shareExtraHosts(tasks, service); err != nil {
		return nil, err
	}
	services, _ := g["Services"].([]any)
	g["Services"] = append([]any{service}, services...)
	return g, nil
}

func (r *renderer) network() *api.NetworkResource {
	port := func(label string, to int) api.Port { return api.Port{Label: label, To: to} }
	if r.spec.Network == wadi.Host {
		return &api.NetworkResource{Mode: "host", DynamicPorts: []api.Port{
			port(wadi.PortTraffic, 0), port(wadi.PortMetrics, 0), port(wadi.PortAdmin, 0), port(wadi.PortApp, 0),
		}}
	}
	n := &api.NetworkResource{Mode: "bridge", DynamicPorts: []api.Port{port(wadi.PortMetrics, wadi.BridgeMetricsPort)}}
	if r.spec.Mesh == wadi.MeshOff {
		n.DynamicPorts = append(n.DynamicPorts, port(wadi.PortTraffic, wadi.BridgeTrafficPort))
	}
	return n
}
