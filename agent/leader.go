package agent

import (
	"encoding/json"
	"fmt"
	"net/url"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/membership"
)

// leaderInfo is the value of the leader's lock.
type leaderInfo struct {
	Name    string `json:"name"`
	URL     string `json:"url"`               // Of its API.
	Mesh    string `json:"mesh,omitempty"`    // host:port of its mesh listener.
	Machine string `json:"machine,omitempty"` // See [membership.MachineID].
}

// leadership is which agent leads, as this one knows it.
type leadership struct {
	log    hclog.Logger
	inMesh <-chan struct{} // Closed when this agent has certificates of the mesh.

	leader atomic.Pointer[leaderInfo]
	term   atomic.Pointer[prometheus.Registry] // Metrics of this agent's own term; nil: another agent leads.
}

// observe takes in the value of the lock; empty: no agent leads.
func (l *leadership) observe(value string) {
	var info leaderInfo
	if value != "" {
		if err := json.Unmarshal([]byte(value), &info); err != nil {
			l.log.Warn("the leader's name is not readable", "value", value)
		}
	}
	if _, err := url.Parse(info.URL); err != nil {
		info.URL = ""
	}
	l.leader.Store(&info)
}

func (l *leadership) current() leaderInfo {
	if info := l.leader.Load(); info != nil {
		return *info
	}
	return leaderInfo{}
}

// Leader returns the leader's name and the URL of its API; empty: no agent leads.
func (l *leadership) Leader() (name, url string) {
	info := l.current()
	return info.Name, info.URL
}

// address returns the URL at which this agent reaches the leader.
func (l *leadership) address() (string, error) {
	inMesh := false
	select {
	case <-l.inMesh:
		inMesh = true
	default:
	}
	return addressOf(l.current(), inMesh, membership.MachineID())
}

// addressOf returns the URL at which an agent on the machine here reaches a leader: over
// the mesh if both are in it, else at its API, unless that listens on a loopback address of
// another machine, where another program may listen here.
func addressOf(l leaderInfo, inMesh bool, here string) (string, error) {
	if inMesh && l.Mesh != "" {
		return "https://" + l.Mesh, nil
	}
	u, err := url.Parse(l.URL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("its address %q can't be used", l.URL)
	}
	if !wadi.IsLoopback(u.Hostname()) || here != "" && l.Machine == here {
		return l.URL, nil
	}
	return "", fmt.Errorf("its API listens on %s, for its own machine alone, and this agent has no certificate of the mesh by which agents ask each other: "+
		"turn Consul Connect on, or give the agents an http.address that the others reach; or ask %s on its machine", u.Host, l.Name)
}

// Gather implements [prometheus.Gatherer], with the metrics that only a leader has.
func (l *leadership) Gather() ([]*dto.MetricFamily, error) {
	if term := l.term.Load(); term != nil {
		return term.Gather()
	}
	return nil, nil
}
