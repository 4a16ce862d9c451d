package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/scrape"
	"github.com/wadi-run/wadi/scheduler"
)

// stage is an autoscaler's world in memory: a fake Nomad, and windows filled in advance.
type stage struct {
	count    int // The count of every job.
	names    []string
	services map[string]*wadi.Stored
	scaled   chan time.Time // When Nomad was asked to scale.

	jobs      map[string]scheduler.JobState // Read as from the event stream.
	endpoints sync.Map                      // Revision to *instances.
	absent    chan struct{}

	scraper *scrape.Scraper // Not running: it asks no sources.
	now     time.Time
}

var (
	_ control.CountSetter   = (*stage)(nil)
	_ control.JobStarter    = (*stage)(nil)
	_ control.UsableCluster = view{}
	_ control.SyncedCluster = view{}
	_ control.Loads         = view{}
)

func (s *stage) job() scheduler.JobState {
	return scheduler.JobState{Exists: true, Count: s.count, Index: 1}
}

// Job implements control.JobStarter.
func (s *stage) Job(context.Context, string, string) (scheduler.JobState, error) { return s.job(), nil }

// Scale implements control.CountSetter: it notes the time and changes nothing.
func (s *stage) Scale(context.Context, string, string, int, uint64, string) (uint64, error) {
	select {
	case s.scaled <- time.Now():
	default:
	}
	return 2, nil
}

// Register implements control.JobStarter.
func (s *stage) Register(context.Context, json.RawMessage, int, uint64) (uint64, error) {
	return 0, errors.New("not here")
}

// Evaluate implements control.JobStarter.
func (s *stage) Evaluate(context.Context, string, string) error { return nil }

// ScaledByHand implements control.CountSetter.
func (s *stage) ScaledByHand(context.Context, string, string, int) (time.Time, bool, error) {
	return time.Time{}, false, nil
}

// view is the stage as control.Cluster and control.Loads, and as the activator sees Nomad.
type view struct{ *stage }

func (v view) Synced(string) bool { return true }
func (v view) Usable(string) bool { return true }

func (v view) Job(_, id string) scheduler.JobState { return v.jobs[id] }

func (v view) Endpoints(_, id string) ([]wadi.Endpoint, <-chan struct{}) {
	if all, ok := v.endpoints.Load(id); ok {
		eps, _ := all.(*instances)
		return eps.list, eps.changed
	}
	return nil, v.absent
}

// routed is the view for an activator, which knows revisions only.
type routed struct{ view }

func (r routed) Endpoints(id string) ([]wadi.Endpoint, <-chan struct{}) {
	return r.view.Endpoints("", id)
}
func (r routed) Diagnosis(string) wadi.Diagnosis { return wadi.Diagnosis{} }

// instances are the instances of one revision.
type instances struct {
	list    []wadi.Endpoint
	changed chan struct{} // Never closed, as here nothing changes.
}

func (v view) Diagnosis(string, string) wadi.Diagnosis { return wadi.Diagnosis{} }
func (v view) Ready(string) bool                       { return true }
func (v view) Confirm(context.Context, string)         {}
func (v view) Dial(context.Context, wadi.Endpoint) (net.Conn, error) {
	return nil, errors.New("there is no instance")
}

// Load implements control.Measure as the leader does, but with a clock that stands still.
func (v view) Load(id string, _ []wadi.MetricTarget, stable, panicking time.Duration, into *scheduler.Loads) (int, bool) {
	v.scraper.Read(id, func(got scrape.Reading) {
		into.Concurrency = got.Windows.Averages(v.now, stable, panicking, wadi.Concurrency)
	})
	return v.count, true
}
