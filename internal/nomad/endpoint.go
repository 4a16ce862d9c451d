package nomad

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
)

// endpoint makes an Endpoint of a revision's allocation.
func endpoint(a allocation) wadi.Endpoint {
	service, _, _ := wadi.SplitRevisionID(a.JobID)
	e := wadi.Endpoint{
		Revision:  a.JobID,
		Service:   service,
		Instance:  a.ID,
		Namespace: a.Namespace,
		Node:      a.NodeID,
		Index:     nameIndex(a.Name),
		Created:   a.CreateTime,
		Running:   a.ClientStatus == "running",
		Ended:     ended(a),
		Problem:   taskProblem(a.TaskStates),
	}
	p := pullsOf(a.TaskStates)
	e.Pull, e.PullFailure = p.time(), p.failure
	e.Hopeless = e.Ended && gaveUp(a.TaskStates)
	if e.PullFailure != "" { // Nomad calls few of them unrecoverable, and not the right ones.
		e.Hopeless = e.Ended && e.PullFailure.Hopeless()
	}
	e.Stopping = e.Ended || a.DesiredStatus != "run" || willMove(a.DesiredTransition)
	e.Moving = a.DesiredTransition.ShouldMigrate()
	for _, s := range a.TaskStates {
		if s != nil {
			e.Restarts += int(s.Restarts)
		}
	}
	e.Addr, e.Metrics = addresses(a, service)
	e.KillAfter = killAfter(a.TaskStates[wadi.TaskQueueProxy])
	return e
}

// nameIndex is the number in an allocation's name, such as hello-00001.instance[3]; 0 if
// there is none.
func nameIndex(name string) int {
	_, after, _ := strings.Cut(name, "[")
	n, err := strconv.Atoi(strings.TrimSuffix(after, "]"))
	if err != nil {
		return 0
	}
	return n
}

// killAfter is how long a client waits for a task that it stops: the job's kill timeout,
// bounded by the client's max_kill_timeout. 0: the client has not stopped it.
func killAfter(s *api.TaskState) (d time.Duration) {
	if s == nil {
		return 0
	}
	for _, e := range s.Events {
		if e.Type != api.TaskKilling {
			continue
		}
		if timeout, err := time.ParseDuration(e.Details["kill_timeout"]); err == nil {
			d = timeout
		}
	}
	return d
}

// unrecoverable is Nomad's reason not to restart a task that would never run: its program
// does not exist, say, or its driver refuses the configuration.
const unrecoverable = "Error was unrecoverable"

// gaveUp reports whether Nomad gave up a task because of an error that it calls
// unrecoverable.
func gaveUp(states map[string]*api.TaskState) bool {
	for _, s := range states {
		if s == nil || !s.Failed {
			continue
		}
		for _, e := range s.Events {
			if e.Type == api.TaskNotRestarting && e.Details["restart_reason"] == unrecoverable {
				return true
			}
		}
	}
	return false
}

// addresses are the host:port of the traffic path and of the metrics listener; empty if
// the allocation has no such port.
func addresses(a allocation, service string) (traffic, metrics string) {
	if a.AllocatedResources == nil {
		return "", ""
	}
	var plain, envoy string
	for _, p := range a.AllocatedResources.Shared.Ports {
		addr := net.JoinHostPort(p.HostIP, strconv.Itoa(p.Value))
		switch p.Label {
		case wadi.PortTraffic:
			plain = addr
		case wadi.PortEnvoy(service):
			envoy = addr
		case wadi.PortMetrics:
			metrics = addr
		}
	}
	if envoy != "" { // The queue-proxy listens on loopback only.
		return envoy, metrics
	}
	return plain, metrics
}

func ended(a allocation) bool {
	return a.ClientStatus == "complete" || a.ClientStatus == "failed" || a.ClientStatus == "lost"
}

// willMove reports whether Nomad has decided to move the allocation, even if it has not
// stopped it yet.
func willMove(t api.DesiredTransition) bool {
	return t.ShouldMigrate() || t.ShouldReschedule() || t.ShouldForceReschedule()
}

// healthy reports whether all tasks run that should.
func healthy(a allocation) bool {
	if a.ClientStatus != "running" || len(a.TaskStates) == 0 {
		return false
	}
	for _, s := range a.TaskStates {
		if s == nil || s.Failed || s.State == "pending" {
			return false
		}
	}
	return true
}
