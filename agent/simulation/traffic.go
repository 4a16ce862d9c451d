package simulation

import (
	"time"

	"github.com/wadi-run/wadi"
)

// Traffic is the requests to services.
type Traffic struct {
	n       *Nomad
	level   map[string]int // By service: requests at once.
	waiting map[string]int // By revision.
	last    map[string]time.Time
	load    map[string]float64
}

// NewTraffic returns none.
func NewTraffic(n *Nomad) *Traffic {
	return &Traffic{n: n, level: map[string]int{}, waiting: map[string]int{}, last: map[string]time.Time{}, load: map[string]float64{}}
}

// Set sets how many requests to a service there are at once.
func (t *Traffic) Set(service string, level int) { t.level[service] = level }

// Level is what was set.
func (t *Traffic) Level(service string) int { return t.level[service] }

// Waiting are the requests that wait at activators.
func (t *Traffic) Waiting(revision string) int { return t.waiting[revision] }

// Load is how many requests a revision has, waiting ones included.
func (t *Traffic) Load(revision string) float64 { return t.load[revision] }

// IdleSince is when a revision had its last request; zero: it had none.
func (t *Traffic) IdleSince(revision string) time.Time { return t.last[revision] }

// Tick ends requests, and brings others by the routes.
func (t *Traffic) Tick(routes map[string]wadi.Route) {
	now := time.Now()
	clear(t.waiting)
	clear(t.load)
	for _, j := range t.n.Jobs() {
		for _, a := range j.allocs {
			kept := a.long[:0]
			for _, until := range a.long {
				if until.After(now) && !a.Ended {
					kept = append(kept, until)
				}
			}
			a.long = kept
			a.InFlight = len(kept)
		}
	}
	for _, j := range t.n.Jobs() {
		r := routes[j.Service]
		weight := wadi.WeightOf(r.Targets, j.ID)
		if n := (t.level[j.Service]*weight + wadi.WeightAll - 1) / wadi.WeightAll; n > 0 {
			t.send(j, n, now)
		}
		for _, a := range j.allocs {
			t.load[j.ID] += float64(a.InFlight)
		}
		if t.load[j.ID] += float64(t.waiting[j.ID]); t.load[j.ID] > 0 {
			t.last[j.ID] = now
		}
	}
	for service, r := range routes { // Of revisions without a job.
		for _, target := range r.Targets {
			if t.level[service] > 0 && target.Weight > 0 && t.n.Find(target.Revision) == nil {
				t.waiting[target.Revision] = t.level[service]
			}
		}
	}
}

// send gives n requests to the instances of a job that take any; else they wait.
func (t *Traffic) send(j *Job, n int, now time.Time) {
	var open []*Alloc
	for _, a := range j.allocs {
		n -= a.InFlight // Longer ones, which go on.
		if a.Ready(now) && a.Order(now) != wadi.OrderGo {
			open = append(open, a)
		}
	}
	if n = max(0, n); len(open) == 0 {
		t.waiting[j.ID] = n
		return
	}
	for i := range n {
		a := open[i%len(open)]
		if a.InFlight++; t.n.Gate.Rand.IntN(20) == 0 {
			a.long = append(a.long, now.Add(time.Duration(t.n.Gate.Rand.IntN(4000))*time.Millisecond))
		}
		if a.accepted = now; a.Order(now) == wadi.OrderGoIfIdle {
			a.order = wadi.OrderStay
		}
	}
}
