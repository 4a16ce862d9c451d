package scheduler

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	// warmAhead is how long before a step of a rollout the instances for it are asked for.
	warmAhead = 30 * time.Second
	// headroom is the least part of the instances that a share needs with which it is taken
	// over, if no node fits the others: at the default utilization of 0.7 each then carries
	// no more than its target.
	headroom = 0.7
	// tolerance is the part of an instance, in hundredths of a percent, for which none more is
	// needed: the load was rounded up to whole instances already.
	tolerance = wadi.WeightAll / 10
	// leastPart is the least growth of a weight that is worth a route of its own, where a
	// weight can't move as a whole.
	leastPart = wadi.WeightAll / 10
)

// demand is how many instances the present load of a service needs, all revisions together.
// Where the load is not known yet the ready instances stand for it: of the revision with the
// most, as the sum has those that were warmed already.
type demand struct {
	total   int
	most    int  // Of one revision.
	serving bool // A revision with traffic has a ready instance. Else the next request starts one: no revision is warmed.
}

func demandOf(d *Desired, o *Observed) demand {
	out := demand{most: math.MaxInt}
	byReady, known, recent := 0, false, o.Now.Before(o.Moved.Add(d.Service.Scale.Window.D()))
	for _, r := range d.Revisions {
		in, weight := o.Instances[r.ID], wadi.WeightOf(o.Route.Targets, r.ID)
		if weight > 0 {
			byReady = max(byReady, in.Ready)
			out.serving = out.serving || in.Ready > 0 || in.Unknown && in.Alive > 0
		}
		if weight == 0 && !recent { // Its instances have no load of the service's.
			continue
		}
		n, measured := o.Loaded[r.ID]
		known = known || measured
		if measured && (o.Jobs[r.ID].Count > 0 || in.Alive > 0) {
			out.total += n
		}
	}
	if !known {
		out.total = byReady
	}
	out.most = atMost(out.most, d, o)
	if d.Service.Scale.DryRun { // Wadi sets no count: waiting for one would have no end.
		out.most = 1
	}
	return out
}

// atMost is a count within the bounds of the service and of the agent.
func atMost(n int, d *Desired, o *Observed) int {
	for _, most := range []int{d.Service.Scale.Max, o.Ceiling} {
		if most > 0 {
			n = min(n, most)
		}
	}
	return n
}

// need is how many ready instances a revision needs for a weight.
func (dm demand) need(weight int) int {
	if weight <= 0 || !dm.serving {
		return 0
	}
	return min(dm.most, max(1, (dm.total*weight+wadi.WeightAll-1-tolerance)/wadi.WeightAll))
}

// suffices reports whether a revision's instances can take a weight.
func (dm demand) suffices(in *Instances, weight int) bool {
	need := dm.need(weight)
	if need == 0 || !in.Unknown && in.Ready >= need {
		return true
	}
	load := float64(min(dm.total, dm.most)) * float64(weight) / wadi.WeightAll
	return !in.Unknown && in.Ready > 0 && in.noPlace() && float64(in.Ready) >= headroom*load
}

// noPlace reports whether further instances don't start.
func (in *Instances) noPlace() bool { return in.Diagnosis != "" }

// capacity is the largest weight that a revision's instances can take.
func (dm demand) capacity(in *Instances) int {
	switch {
	case !dm.serving:
		return wadi.WeightAll
	case in.Unknown, in.Ready == 0:
		return 0
	case in.Ready >= dm.most, in.Ready >= dm.total:
		return wadi.WeightAll
	}
	return in.Ready * wadi.WeightAll / dm.total
}

// lack is a revision that has too few ready instances for a weight that it is to get.
type lack struct {
	revision    string
	weight      int
	ready, need int
	why         string // Why it has no more; empty: not known.
}

func (l lack) String() string {
	s := fmt.Sprintf("%s has %d of the %s ready that %g%% of the present load %s", l.revision, l.ready, wadi.Quantity(l.need, "instance"), float64(l.weight)/100, wadi.Plural(l.need, "needs", "need"))
	if l.why != "" {
		s += ": " + l.why
	}
	return s
}

// lacking are the revisions whose weight grows from one list of targets to another and that
// have too few ready instances for it.
func (dm demand) lacking(o *Observed, from, to []wadi.RouteTarget) (all []lack) {
	weights := wadi.Weights(to)
	for _, id := range slices.Sorted(maps.Keys(weights)) {
		in, w := o.Instances[id], weights[id]
		if w > wadi.WeightOf(from, id) && !dm.suffices(&in, w) {
			l := lack{revision: id, weight: w, ready: in.Ready, need: dm.need(w), why: in.Diagnosis}
			if l.why == "" && in.Alive >= l.need {
				l.why = in.UnreadyReason
			}
			all = append(all, l)
		}
	}
	return all
}

// Warming is how many instances each revision needs at least because its share of the traffic
// is to grow, or has just grown and is not in its own measured load yet. It is the autoscaler's
// lower bound meanwhile.
func Warming(d Desired, o Observed) map[string]int {
	if d.Deleting || len(o.Route.Targets) == 0 {
		return nil
	}
	d.Revisions = byNumber(d.Revisions)
	dm := demandOf(&d, &o)
	if !dm.serving {
		return nil
	}
	now, rs := wadi.Weights(o.Route.Targets), d.State.Rollout
	later := wadi.Weights(targetsOf(d.Service, d.Latest, d.Revisions, d.State.Revisions, rs))
	if next, ok := nextShares(&d, &o, rs); ok {
		after := *rs
		after.Shares = next
		for id, w := range wadi.Weights(targetsOf(d.Service, d.Latest, d.Revisions, d.State.Revisions, &after)) {
			later[id] = max(later[id], w)
		}
	}
	out := map[string]int{}
	for _, r := range d.Revisions {
		n := 0
		switch {
		case d.State.Revisions[r.ID].Phase != wadi.Ready:
		case later[r.ID] > now[r.ID]:
			n = dm.need(later[r.ID])
		case o.Now.Before(o.Moved.Add(d.Service.Scale.Window.D())):
			n = min(dm.need(now[r.ID]), o.Jobs[r.ID].Count)
		}
		if n > 0 {
			out[r.ID] = n
		}
	}
	return out
}

// nextShares are those after the next step of a rollout, if its instances are to be there
// soon.
func nextShares(d *Desired, o *Observed, rs *wadi.RolloutState) ([]wadi.RolloutShare, bool) {
	if !rs.Underway() || rs.Paused || !d.Service.Rollout.Gradual() {
		return nil, false
	}
	share := rs.Shares[0].Weight
	if share >= wadi.WeightAll || share > 0 && (rs.Programmed.IsZero() || o.Now.Before(rs.Next.Add(-warmAhead))) {
		return nil, false
	}
	to := firstShare
	if share > 0 {
		steps, _ := paceOf(d.Service.Rollout, rs.Took.D())
		to = nextShare(share, steps)
	}
	return grown(rs.Shares, to), true
}
