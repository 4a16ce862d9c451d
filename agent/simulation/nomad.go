package simulation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Body is what a job says, as far as the simulation goes.
type Body struct {
	ID, Service, Namespace string
	Version                int           // Of what runs; a change replaces the instances.
	Start                  time.Duration // Until an instance is ready; negative: it never is.
}

// Job is a job with its allocations.
type Job struct {
	Body
	scheduler.JobState
	raw      string
	allocs   []*Alloc
	before   uint64          // The index before.
	changed  time.Time       // When Index was given.
	replaced map[uint64]bool // Indexes of registrations that changed what it says.
	scaled   scaling
	placeAt  time.Time // When what is missing is placed.
}

// scaling is the last entry of a job's scaling history.
type scaling struct {
	at     time.Time
	count  int
	byWadi bool
}

// Alloc is an allocation, and the instance in it.
type Alloc struct {
	ID       string
	Job      *Job
	Name     int // The index in its name.
	Node     string
	Created  time.Time
	ReadyAt  time.Time // Zero: never.
	Stopping bool
	Moving   bool
	Ended    bool
	EndsAt   time.Time // Of what stops.

	InFlight int // Requests.
	long     []time.Time
	accepted time.Time // The last request.
	runs     bool      // That it runs was told.

	order      wadi.Order
	ordered    time.Time // When the order in force was last given.
	orderSince time.Time // When the first of them was.
	Tried      time.Time // Since when orders were given and none reached it; zero: the last did.
}

// orderLifetime is how long an order is in force that is not given again.
const orderLifetime = 10 * time.Second

// starts is how long Nomad takes to report that an instance runs.
const starts = 200 * time.Millisecond

// Ready reports whether the instance takes requests, if it is not ordered to go.
func (a *Alloc) Ready(now time.Time) bool {
	return !a.Ended && !a.Stopping && !a.ReadyAt.IsZero() && !now.Before(a.ReadyAt)
}

// Order is the order in force.
func (a *Alloc) Order(now time.Time) wadi.Order {
	if a.order == "" || now.Sub(a.ordered) >= orderLifetime {
		return wadi.OrderStay
	}
	return a.order
}

// Nomad is jobs, allocations, nodes and event streams.
type Nomad struct {
	Gate *Gate
	// Called is told of each change that an actor makes, before it takes effect.
	Called func(actor string, c Change)
	// Stopped is told of each instance that a change of an actor stops.
	Stopped func(c Change, a *Alloc)

	index uint64
	next  int
	jobs  map[string]*Job
	gone  []*Alloc // Of purged jobs: their processes may need a while.
	nodes map[string]bool
	Views []*View
}

// Change is one change of a job that an actor makes.
type Change struct {
	Actor, Kind, ID string // Kind: register, scale, stop, purge.
	Count           int
	Issued          time.Time
	Index           uint64
	Was             scheduler.JobState
	Unsafe          bool // The guard let it pass although its index was the one before.
}

// NewNomad returns one with some nodes.
func NewNomad(g *Gate, nodes ...string) *Nomad {
	n := &Nomad{Gate: g, index: 1, jobs: map[string]*Job{}, nodes: map[string]bool{}}
	for _, name := range nodes {
		n.nodes[name] = true
	}
	return n
}

// Jobs are all jobs, sorted.
func (n *Nomad) Jobs() (out []*Job) {
	for _, id := range slices.Sorted(maps.Keys(n.jobs)) {
		out = append(out, n.jobs[id])
	}
	return out
}

// Find returns a job; nil: there is none.
func (n *Nomad) Find(id string) *Job { return n.jobs[id] }

// Instances are the allocations of a job that have not ended.
func (n *Nomad) Instances(id string) (out []*Alloc) {
	if j := n.jobs[id]; j != nil {
		for _, a := range j.allocs {
			if !a.Ended {
				out = append(out, a)
			}
		}
	}
	return out
}

// Same reports whether a job says what b does.
func (j *Job) Same(b []byte) bool { return j.raw == string(b) }

func (j *Job) moved(n *Nomad) {
	n.index++
	j.before, j.Index, j.changed = j.Index, n.index, time.Now()
}

// guard compares a job's index. Calls that were under way together may all pass: before
// Nomad 2.0.1 the guard is not safe.
func (n *Nomad) guard(c *Change) error {
	var at, before uint64
	var changed time.Time
	id, index, issued := c.ID, c.Index, c.Issued
	if j := n.jobs[id]; j != nil {
		at, before, changed = j.Index, j.before, j.changed
	}
	if at == index {
		return nil
	}
	if before == index && index != 0 && !issued.After(changed) && time.Since(changed) < 100*time.Millisecond && n.Gate.Rand.IntN(2) == 0 {
		c.Unsafe = true
		return nil
	}
	return fmt.Errorf("%w: its index is %d, not %d", wadi.ErrConflict, at, index)
}

// register makes a job what raw says.
func (n *Nomad) register(c Change, raw json.RawMessage) uint64 {
	var b Body
	if err := json.Unmarshal(raw, &b); err != nil {
		panic(err)
	}
	j := n.jobs[b.ID]
	if j == nil {
		j = &Job{replaced: map[uint64]bool{}}
		n.jobs[b.ID] = j
	}
	differs := j.raw != string(raw)
	replaces := j.Body.Version != b.Version || j.Body.Start != b.Start
	j.moved(n)
	j.Body, j.raw = b, string(raw)
	j.Exists, j.Stopped, j.Count = true, false, c.Count
	j.replaced[j.Index] = differs
	if replaces {
		for _, a := range j.allocs {
			n.stop(Change{Kind: "replace"}, a)
		}
	}
	n.fit(c, j)
	n.emit(b.ID, true)
	return j.Index
}

func (n *Nomad) scale(c Change, byWadi bool) uint64 {
	j := n.jobs[c.ID]
	j.moved(n)
	j.Count, j.scaled = c.Count, scaling{time.Now(), c.Count, byWadi}
	n.fit(c, j)
	n.emit(c.ID, true)
	return j.Index
}

func (n *Nomad) stopJob(c Change, purge bool) {
	j := n.jobs[c.ID]
	if j == nil {
		return
	}
	j.moved(n)
	j.Stopped = true
	n.fit(c, j)
	if purge {
		n.gone = append(n.gone, j.allocs...)
		delete(n.jobs, c.ID)
	}
	n.emit(c.ID, true)
}

// fit stops the instances that are too many, the highest names first, and has those that
// lack placed a moment later.
func (n *Nomad) fit(c Change, j *Job) {
	want := j.Count
	if j.Stopped {
		want = 0
	}
	var alive []*Alloc
	for _, a := range j.allocs {
		if !a.Stopping && !a.Ended {
			alive = append(alive, a)
		}
	}
	slices.SortFunc(alive, func(a, b *Alloc) int { return cmp.Or(b.Name-a.Name, cmp.Compare(a.ID, b.ID)) })
	for _, a := range alive[:max(0, len(alive)-want)] {
		n.stop(c, a)
	}
	if len(alive) < want && j.placeAt.IsZero() {
		j.placeAt = time.Now().Add(time.Duration(n.Gate.Rand.IntN(800)) * time.Millisecond)
	}
}

func (n *Nomad) stop(c Change, a *Alloc) {
	if a.Stopping || a.Ended {
		return
	}
	if n.Stopped != nil {
		n.Stopped(c, a)
	}
	a.Stopping, a.EndsAt = true, time.Now().Add(time.Duration(500+n.Gate.Rand.IntN(3000))*time.Millisecond)
}

// Tick does what became due.
func (n *Nomad) Tick() {
	now := time.Now()
	for _, j := range n.Jobs() {
		changed := false
		for _, a := range j.allocs {
			if a.Stopping && !a.Ended && !now.Before(a.EndsAt) {
				a.Ended, a.InFlight, changed = true, 0, true
			}
			if !a.runs && now.Sub(a.Created) > starts {
				a.runs, changed = true, true
			}
		}
		if ended := len(j.allocs) > 20; ended {
			j.allocs = slices.DeleteFunc(j.allocs, func(a *Alloc) bool { return a.Ended })
		}
		n.fit(Change{Kind: "evaluation"}, j)
		if !j.placeAt.IsZero() && !now.Before(j.placeAt) {
			j.placeAt = time.Time{}
			changed = n.place(j) || changed
		}
		if changed {
			n.index++
			n.emit(j.ID, false)
		}
	}
	n.gone = slices.DeleteFunc(n.gone, func(a *Alloc) bool { return !now.Before(a.EndsAt) })
}

// place places what is missing, on nodes that there are.
func (n *Nomad) place(j *Job) bool {
	if j.Stopped {
		return false
	}
	taken, alive := map[int]bool{}, 0
	for _, a := range j.allocs {
		if !a.Stopping && !a.Ended {
			taken[a.Name], alive = true, alive+1
		}
	}
	var nodes []string
	for _, name := range slices.Sorted(maps.Keys(n.nodes)) {
		if n.nodes[name] {
			nodes = append(nodes, name)
		}
	}
	if len(nodes) == 0 {
		return false
	}
	placed := false
	for name := 0; alive < j.Count; name++ {
		if taken[name] {
			continue
		}
		n.next++
		now := time.Now()
		a := &Alloc{ID: fmt.Sprintf("alloc-%04d", n.next), Job: j, Name: name, Node: nodes[n.next%len(nodes)], Created: now}
		if j.Start >= 0 {
			a.ReadyAt = now.Add(j.Start)
		}
		j.allocs = append(j.allocs, a)
		alive, placed = alive+1, true
	}
	return placed
}

// Drain begins to drain a node: no new instances come, and Migrate moves those that are there;
// or it ends that.
func (n *Nomad) Drain(node string, drains bool) { n.nodes[node] = !drains }

// Draining are the nodes that drain.
func (n *Nomad) Draining() map[string]bool {
	out := map[string]bool{}
	for name, takes := range n.nodes {
		if !takes {
			out[name] = true
		}
	}
	return out
}

// Migrate stops the instances of draining nodes, as Nomad does: none that is the only
// ready one of its job, unless last.
func (n *Nomad) Migrate(last bool) {
	for node := range n.Draining() {
		n.each(node, func(a *Alloc) {
			others := 0
			for _, o := range a.Job.allocs {
				if o != a && o.Ready(time.Now()) && !o.Moving {
					others++
				}
			}
			if others > 0 || last {
				a.Moving = true
				n.stop(Change{Kind: "drain"}, a)
			}
		})
	}
}

// Kill ends the instances of a node at once; empty: one instance, of a job.
func (n *Nomad) Kill(node, job string) {
	if node != "" {
		n.each(node, func(a *Alloc) { a.Ended, a.InFlight = true, 0 })
		return
	}
	for _, a := range n.Instances(job) {
		if !a.Stopping {
			a.Ended, a.InFlight = true, 0
			n.index++
			n.emit(job, false)
			return
		}
	}
}

func (n *Nomad) each(node string, do func(*Alloc)) {
	for _, j := range n.Jobs() {
		touched := false
		for _, a := range j.allocs {
			if a.Node == node && !a.Ended && !a.Stopping {
				do(a)
				touched = true
			}
		}
		if touched {
			n.index++
			n.emit(j.ID, false)
		}
	}
}

// By hand: what a user does in Nomad.

// EditByHand registers a job that says something else.
func (n *Nomad) EditByHand(id string) {
	if j := n.jobs[id]; j != nil && !j.Stopped {
		b := j.Body
		b.Version += 1000
		raw, _ := json.Marshal(b)
		n.register(Change{Actor: "hand", Kind: "register", ID: id, Count: j.Count}, raw)
	}
}

// ScaleByHand sets a count.
func (n *Nomad) ScaleByHand(id string, count int) {
	if j := n.jobs[id]; j != nil && !j.Stopped {
		n.scale(Change{Actor: "hand", Kind: "scale", ID: id, Count: count}, false)
	}
}

// StopByHand stops or purges a job.
func (n *Nomad) StopByHand(id string, purge bool) {
	n.stopJob(Change{Actor: "hand", Kind: "stop", ID: id}, purge)
}

// NomadClient is what an agent, or a part of one, asks Nomad for.
type NomadClient struct {
	n     *Nomad
	actor string
}

// Client is what one actor sees of it.
func (n *Nomad) Client(actor string) *NomadClient { return &NomadClient{n, actor} }

func (k *NomadClient) Job(ctx context.Context, _, id string) (s scheduler.JobState, err error) {
	err = k.n.Gate.Do(ctx, k.actor, "job "+id, func(Verdict) error {
		if j := k.n.jobs[id]; j != nil {
			s = j.JobState
		}
		return nil
	})
	return s, err
}

func (k *NomadClient) change(ctx context.Context, c Change, do func(Change) error) error {
	c.Actor, c.Issued = k.actor, time.Now()
	return k.n.Gate.Do(ctx, k.actor, fmt.Sprintf("%s %s %d at %d", c.Kind, c.ID, c.Count, c.Index), func(Verdict) error {
		if j := k.n.jobs[c.ID]; j != nil {
			c.Was = j.JobState
		}
		return do(c)
	})
}

func (k *NomadClient) told(c Change) {
	if k.n.Called != nil {
		k.n.Called(k.actor, c)
	}
}

func (k *NomadClient) Register(ctx context.Context, job json.RawMessage, count int, index uint64) (at uint64, err error) {
	var b Body
	if err := json.Unmarshal(job, &b); err != nil {
		return 0, fmt.Errorf("register: %w", err)
	}
	c := Change{Kind: "register", ID: b.ID, Count: count, Index: index}
	err = k.change(ctx, c, func(c Change) error {
		if err := k.n.guard(&c); err != nil {
			return err
		}
		k.told(c)
		at = k.n.register(c, job)
		return nil
	})
	return at, err
}

func (k *NomadClient) Scale(ctx context.Context, _, id string, count int, index uint64, _ string) (at uint64, err error) {
	c := Change{Kind: "scale", ID: id, Count: count, Index: index}
	err = k.change(ctx, c, func(c Change) error {
		if j := k.n.jobs[id]; j == nil || j.Stopped {
			return fmt.Errorf("scale %s: %w", id, wadi.ErrNotFound)
		}
		if err := k.n.guard(&c); err != nil {
			return err
		}
		k.told(c)
		at = k.n.scale(c, true)
		return nil
	})
	return at, err
}

func (k *NomadClient) Stop(ctx context.Context, _, id string) error {
	return k.change(ctx, Change{Kind: "stop", ID: id}, func(c Change) error {
		k.told(c)
		k.n.stopJob(c, false)
		return nil
	})
}

func (k *NomadClient) Purge(ctx context.Context, _, id string) error {
	return k.change(ctx, Change{Kind: "purge", ID: id}, func(c Change) error {
		k.told(c)
		k.n.stopJob(c, true)
		return nil
	})
}

func (k *NomadClient) Note(ctx context.Context, _, id, _ string) error {
	return k.n.Gate.Do(ctx, k.actor, "note "+id, func(Verdict) error { return nil })
}

func (k *NomadClient) Evaluate(ctx context.Context, _, id string) error {
	return k.n.Gate.Do(ctx, k.actor, "evaluate "+id, func(Verdict) error {
		if j := k.n.jobs[id]; j != nil {
			j.placeAt = time.Now()
		}
		return nil
	})
}

func (k *NomadClient) Drifted(ctx context.Context, job json.RawMessage, count int) (drifted bool, index uint64, err error) {
	var b Body
	if err := json.Unmarshal(job, &b); err != nil {
		return false, 0, fmt.Errorf("plan: %w", err)
	}
	err = k.n.Gate.Do(ctx, k.actor, "plan "+b.ID, func(Verdict) error {
		j := k.n.jobs[b.ID]
		if drifted = j == nil || !j.Same(job) || j.Count != count; j != nil {
			index = j.Index
		}
		return nil
	})
	return drifted, index, err
}

func (k *NomadClient) Edited(ctx context.Context, _, id string, index uint64) (edited bool, err error) {
	err = k.n.Gate.Do(ctx, k.actor, "versions "+id, func(Verdict) error {
		j := k.n.jobs[id]
		edited = j != nil && j.replaced[index]
		return nil
	})
	return edited, err
}

func (k *NomadClient) ScaledByHand(ctx context.Context, _, id string, count int) (at time.Time, byHand bool, err error) {
	err = k.n.Gate.Do(ctx, k.actor, "history "+id, func(Verdict) error {
		j := k.n.jobs[id]
		switch {
		case j == nil || j.scaled.at.IsZero():
			return nil
		case j.scaled.count != count:
			return fmt.Errorf("the scaling history of %s ends with %d", id, j.scaled.count)
		}
		at, byHand = j.scaled.at, !j.scaled.byWadi
		return nil
	})
	return at, byHand, err
}

// OwnJobs are the jobs that are not stopped.
func (k *NomadClient) OwnJobs(ctx context.Context) (out []scheduler.OwnJob, err error) {
	err = k.n.Gate.Do(ctx, k.actor, "own jobs", func(Verdict) error {
		for _, j := range k.n.Jobs() {
			if !j.Stopped {
				out = append(out, scheduler.OwnJob{Namespace: j.Namespace, ID: j.ID, Service: j.Service, Index: j.Index})
			}
		}
		return nil
	})
	return out, err
}

// SendOrder is an order to an instance, and its answer.
func (k *NomadClient) SendOrder(ctx context.Context, ep wadi.Endpoint, order wadi.Order) (answer wadi.OrderAnswer, err error) {
	err = k.n.Gate.Do(ctx, k.actor, "order "+string(order)+" "+ep.Instance, func(Verdict) error {
		now := time.Now()
		for _, a := range k.n.Instances(ep.Revision) {
			if a.ID == ep.Instance {
				answer, a.Tried = a.take(order, now), time.Time{}
				return nil
			}
		}
		return fmt.Errorf("order %s: %w", ep.Instance, wadi.ErrUnavailable)
	})
	return answer, err
}

// Ordered notes that an order to an instance is under way.
func (n *Nomad) Ordered(what string) {
	id := what[strings.LastIndexByte(what, ' ')+1:]
	for _, j := range n.jobs {
		for _, a := range j.allocs {
			if a.ID == id && a.Tried.IsZero() {
				a.Tried = time.Now()
			}
		}
	}
}

// take is what a queue-proxy does with an order.
func (a *Alloc) take(order wadi.Order, now time.Time) wadi.OrderAnswer {
	before := a.Order(now)
	if order == wadi.OrderGoIfIdle && (a.InFlight > 0 || before == wadi.OrderStay && now.Sub(a.accepted) < time.Second) {
		order = wadi.OrderStay
	}
	if before == wadi.OrderStay {
		a.orderSince = now
	}
	a.order, a.ordered = order, now
	out := wadi.OrderAnswer{Order: order, Requests: a.InFlight}
	if order != wadi.OrderStay {
		out.SinceMS = now.Sub(a.orderSince).Milliseconds()
		out.QuietMS = now.Sub(later(a.orderSince, a.accepted)).Milliseconds()
	}
	return out
}
