package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/backlog"
	"github.com/wadi-run/wadi/scheduler"
)

// startTime is how long the fake's instances take to become ready.
const startTime = 200 * time.Millisecond

// cluster is a small Nomad with its instances, a store and the network layers,
// in memory. Instances that may start become ready after startTime.
type cluster struct {
	mu            sync.Mutex
	jobs          map[string]*job
	nextID        int
	index         uint64
	cantRun       map[string]string // Revisions whose instances never become ready, and why.
	disconnected  bool              // Nomad's event stream is away.
	readyUnknown  bool              // No instance has been asked yet whether it is ready.
	slow          time.Duration     // How long instances take to become ready, if longer than startTime.
	load          map[string]float64
	quiet         map[string]time.Time // Since when a revision has no load.
	editedErr     error                // Of questions whether a registration changed a job.
	byHandUnknown int                  // How often it is not known yet whether a count was set by hand.
	byHandAt      time.Time            // When a count was last set by hand.
	away          bool                 // Nomad does not answer.
	stale         bool                 // The next guarded call meets another change.
	behind        bool                 // The event stream lacks the jobs' last changes.
	scales        []string
	changed       chan struct{}
	taken         <-chan struct{} // The changed of the last TakeChanged.
	named         []string        // What TakeChanged names; nil: nothing.
	sets          int             // How often was said what is measured.
	stored        map[string]wadi.Stored
	watch         func([]string)
	layers        map[string]wadi.Route
	edits         control.Edits
	wide          func(string) (string, bool)
	unshielded    func(string) (string, bool)
	ignoresRoutes bool   // The network layers take a route, and don't carry it.
	foreign       string // Why the network layers can't be programmed; empty: they can.
	applied       int
	statuses      int
	callers       control.Callers
	domains       control.DomainReports
	unread        func(revision string) string
	exits         func(namespace, revision string) []wadi.Exit
	needed        error // Why layers don't let go of a service.
	registers     int
	unreported    map[string]float64 // Load that is known only after Confirm.
	calls         []string           // What Nomad and the store were asked for.
	backlog       *backlog.Set
	waking        func() <-chan struct{}
	reads         int           // How often the leader has read a revision.
	ends          time.Duration // How long instances of a stopped job take to end.
	drains        func(string) string
	orders        control.Orders
	draining      map[string]bool // Nodes; each instance has one of its own, named as it is.
	unready       map[string]bool // Instances.
	images        []wadi.Image    // Of the revisions that are submitted.
	killAfter     time.Duration   // How long a client has let instances drain; 0: it has ended none.
	late          time.Duration   // How long after a purge the job is still listed.
	purged        map[string]listed
	unloaded      error                       // Why no service can be read; nil: each can.
	loads         int                         // How often that was tried.
	plans         int                         // How often Nomad was asked for a plan.
	planning      chan struct{}               // Nil, or closed when plans are answered.
	planErr       error                       // Why none can be made; nil: they can.
	planless      bool                        // Nomad plans nothing, as for a workload's identity.
	lackImages    map[string]wadi.PullFailure // Why revisions' images can't be had.
	pulls         []time.Time                 // Tries to pull an image.
	idle          map[uint64]bool             // The indexes of registrations that changed nothing.
	rollout       *wadi.Rollout               // Of the services that are submitted.
	notes         []string                    // In the histories of jobs.
	answers       map[string]wadi.Outcomes    // By revision, whatever the time; nil: nobody reads outcomes.
	since         map[string]time.Time        // By revision: the time that they were last read from.
	shared        float64                     // The load of each service, which its revisions share by their weights; 0: they have a load of their own.
}

type job struct {
	scheduler.JobState
	body   string
	allocs []alloc
	ended  []alloc // Those that lacked their image, at most five.
	leaves []alloc // Those that take the cluster's ends to end.
}

type alloc struct {
	id     string
	placed time.Time
	lacks  *lacking // Nil: it has its image.
}

// listed is a job that is gone, and listed for a while.
type listed struct {
	scheduler.JobState
	until time.Time
}

func newCluster() *cluster {
	return &cluster{
		jobs: map[string]*job{}, idle: map[uint64]bool{}, cantRun: map[string]string{}, load: map[string]float64{}, quiet: map[string]time.Time{},
		stored: map[string]wadi.Stored{}, purged: map[string]listed{}, layers: map[string]wadi.Route{}, changed: make(chan struct{}),
		backlog: backlog.New(),
	}
}

// change notifies; with mu held.
func (c *cluster) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// set makes the job what a registration or a scaling says; with mu held.
func (c *cluster) set(id, body string, count int) uint64 {
	j := c.jobs[id]
	if j == nil {
		j = &job{}
		c.jobs[id] = j
	}
	c.index++
	j.JobState = scheduler.JobState{Exists: true, Count: count, Index: c.index}
	j.body = body
	for len(j.allocs) < count {
		c.nextID++
		a := alloc{id: fmt.Sprintf("alloc-%d", c.nextID), placed: time.Now()}
		if c.lackImages[id] != "" {
			a.lacks = &lacking{}
			c.pullLater(id, a, pullTime)
		}
		j.allocs = append(j.allocs, a)
		time.AfterFunc(max(startTime, c.slow), func() { c.mu.Lock(); c.change(); c.mu.Unlock() })
	}
	for _, a := range j.allocs[count:] {
		j.end(a)
		if c.ends > 0 {
			j.leaves = append(j.leaves, a)
			time.AfterFunc(c.ends, func() { c.mu.Lock(); j.leaves = nil; c.change(); c.mu.Unlock() })
		}
	}
	j.allocs = j.allocs[:count]
	c.change()
	return c.index
}

func (c *cluster) guard(id string, index uint64) error {
	if c.away {
		return wadi.ErrUnavailable
	}
	var have uint64
	if j := c.jobs[id]; j != nil {
		have = j.Index
	}
	if have != index || c.stale {
		c.stale = false
		return wadi.ErrConflict
	}
	return nil
}

func (c *cluster) Job(_ context.Context, _, id string) (scheduler.JobState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "Job")
	if c.away {
		return scheduler.JobState{}, wadi.ErrUnavailable
	}
	if j := c.jobs[id]; j != nil {
		state := j.JobState
		if c.behind {
			state.Index++
		}
		return state, nil
	}
	return scheduler.JobState{}, nil
}

func (c *cluster) Scale(_ context.Context, _, id string, count int, index uint64, msg string) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "Scale")
	if err := c.guard(id, index); err != nil {
		return 0, err
	}
	if msg == "" {
		return 0, fmt.Errorf("scale without a reason")
	}
	c.scales = append(c.scales, fmt.Sprintf("%s=%d", id, count))
	return c.set(id, c.jobs[id].body, count), nil
}

func (c *cluster) Register(_ context.Context, body json.RawMessage, count int, index uint64) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "Register")
	var id string
	if err := json.Unmarshal(body, &id); err != nil {
		return 0, err
	}
	if err := c.guard(id, index); err != nil {
		return 0, err
	}
	c.registers++
	j := c.jobs[id]
	same := j != nil && !j.Stopped && j.body == string(body) && j.Count == count
	index = c.set(id, string(body), count)
	if same {
		c.idle[index] = true
	}
	return index, nil
}

func (c *cluster) Edited(_ context.Context, _, _ string, index uint64) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.idle[index], c.editedErr
}

func (c *cluster) Drifted(ctx context.Context, body json.RawMessage, count int) (drifted bool, index uint64, err error) {
	if err := c.planned(ctx); err != nil {
		return false, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var id string
	if err := json.Unmarshal(body, &id); err != nil {
		return false, 0, err
	}
	return c.planless || c.jobs[id].body != string(body) || c.jobs[id].Count != count, c.jobs[id].Index, nil
}

func (c *cluster) ScaledByHand(_ context.Context, _, id string, count int) (time.Time, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "ScaledByHand")
	if c.byHandUnknown > 0 {
		c.byHandUnknown--
		return time.Time{}, false, errors.New("the history ends before that")
	}
	return c.byHandAt, !c.byHandAt.IsZero() && c.jobs[id].Count == count, nil
}

func (c *cluster) Note(_ context.Context, _, id, message string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, id+" "+message)
	return nil
}

func (c *cluster) Evaluate(context.Context, string, string) error { return nil }

func (c *cluster) Stop(_ context.Context, _, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[id]; j != nil {
		c.index++
		j.JobState = scheduler.JobState{Exists: true, Stopped: true, Index: c.index}
		if c.ends > 0 {
			time.AfterFunc(c.ends, func() { c.mu.Lock(); j.allocs = nil; c.change(); c.mu.Unlock() })
		} else {
			j.allocs = nil
		}
		c.change()
	}
	return nil
}

func (c *cluster) Purge(_ context.Context, _, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[id]; j != nil && c.late > 0 {
		c.purged[id] = listed{j.JobState, time.Now().Add(c.late)}
		time.AfterFunc(c.late, func() { c.mu.Lock(); c.change(); c.mu.Unlock() })
	}
	delete(c.jobs, id)
	c.change()
	return nil
}
