package agent

import (
	"cmp"
	"encoding/json"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/loads"
	"github.com/wadi-run/wadi/agent/outcomes"
	"github.com/wadi-run/wadi/agent/server"
)

// leadership is which agent leads, as this one knows it.
type leadership struct {
	log      hclog.Logger
	leader   atomic.Pointer[peer]                // The value of the leader's lock.
	term     atomic.Pointer[prometheus.Registry] // Metrics of this agent's own term; nil: another agent leads.
	loads    atomic.Pointer[loads.Recorder]      // Loads of this agent's own term; nil: another agent leads.
	outcomes atomic.Pointer[outcomes.Keeper]     // Likewise.
}

// observe takes in the value of the lock; empty: no agent leads.
func (l *leadership) observe(value string) {
	var info peer
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

func (l *leadership) current() peer {
	if info := l.leader.Load(); info != nil {
		return *info
	}
	return peer{}
}

// Leader returns the leader's name and the URL of its API; empty: no agent leads.
func (l *leadership) Leader() (name, url string) {
	info := l.current()
	return info.Name, info.URL
}

// addLoad adds what this agent's own term knows of a service's load, and has not stored.
func (l *leadership) addLoad(service string, h wadi.LoadHistory) wadi.LoadHistory {
	if own := l.loads.Load(); own != nil {
		return own.Add(service, h)
	}
	return h
}

// outcomesOf is what this agent's own term knows of a revision's answers since a time; false:
// another agent leads.
func (l *leadership) outcomesOf(revision string, since time.Time) (server.Outcomes, bool) {
	own := l.outcomes.Load()
	if own == nil {
		return server.Outcomes{}, false
	}
	r := own.Read(revision, since, time.Now())
	return server.Outcomes{Outcomes: r.Outcomes, From: r.From, Unknown: cmp.Or(r.Unknown, r.Unreported), InstanceSeconds: r.InstanceSeconds}, true
}

// Gather implements [prometheus.Gatherer], with the metrics that only a leader has.
func (l *leadership) Gather() ([]*dto.MetricFamily, error) {
	if term := l.term.Load(); term != nil {
		return term.Gather()
	}
	return nil, nil
}
