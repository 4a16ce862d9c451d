package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Orders tells instances whether they are to drain, before the count is lowered.
type Orders interface {
	// SendOrder returns the instance's answer; wadi.ErrNoOrders if it takes none.
	SendOrder(ctx context.Context, ep wadi.Endpoint, order wadi.Order) (wadi.OrderAnswer, error)
}

const (
	// leaveEvery is how often revisions are looked at of which instances are to go.
	leaveEvery = time.Second
	// tellTimeout bounds the telling of one instance.
	tellTimeout = 2 * time.Second
	// leaveSteps bounds the rounds of one look: an order may follow from what was said
	// to the one before.
	leaveSteps = 3
	// longestRequest stands for the bound of requests that have none.
	longestRequest = time.Hour
)

// leave has the instances told that are to go before the count becomes n, and those
// that need not any more, and returns how far the count may be lowered now.
func (a *Autoscaler) leave(ctx context.Context, r *record, s *subject, count, n int) scheduler.ScaleDownPlan {
	if a.Orders == nil {
		return scheduler.ScaleDownPlan{Count: n}
	}
	eps := map[string]wadi.Endpoint{}
	in := scheduler.ScaleDownInput{Count: count, Desired: n, MaxRequest: s.longest, Draining: r.leavers}
	all, _ := a.Cluster.Endpoints(s.namespace, s.id)
	for _, ep := range all {
		if !ep.Stopping {
			eps[ep.Instance] = ep
			in.Alive = append(in.Alive, scheduler.Candidate{ID: ep.Instance, Index: ep.Index, Running: ep.Running, Ready: a.Loads.Ready(ep.Instance)})
		}
	}
	now := time.Now()
	maps.DeleteFunc(r.leavers, func(id string, l scheduler.DrainingInstance) bool {
		_, there := eps[id]
		return !there || l.Expired(now)
	})
	var plan scheduler.ScaleDownPlan
	for range leaveSteps {
		in.Now = time.Now()
		if plan = scheduler.PlanScaleDown(in); len(plan.Orders) == 0 {
			break
		}
		in.Draining = a.tell(ctx, s, eps, in.Draining, plan.Orders)
	}
	r.leavers = in.Draining
	a.follow(s.id, len(r.leavers) > 0)
	return plan
}

// stay has those told to stay that were told to go.
func (a *Autoscaler) stay(ctx context.Context, r *record, s *subject, count int) {
	if len(r.leavers) > 0 {
		a.leave(ctx, r, s, count, count)
	}
}

// unsettled reports whether those who were told to go are let be: nothing is known for a
// moment, as happens on a busy machine, and they would have to begin anew. If it lasts
// their orders end by themselves. Where no other instance stays they are had back at once.
func (r *record) unsettled(d *wadi.Decision, now time.Time) bool {
	if !scheduler.Unknown(d) || len(r.leavers) >= r.alive {
		return false
	}
	for _, l := range r.leavers {
		if l.InForce(now) {
			return true
		}
	}
	return false
}

// forgetLeavers drops what was told: there are no instances, or they end otherwise.
func (a *Autoscaler) forgetLeavers(r *record, s *subject) {
	if r.leavers != nil {
		r.leavers = nil
		a.follow(s.id, false)
	}
}

// tell gives orders, all at once, and returns what is known after that.
func (a *Autoscaler) tell(ctx context.Context, s *subject, eps map[string]wadi.Endpoint, known map[string]scheduler.DrainingInstance, orders map[string]wadi.Order) map[string]scheduler.DrainingInstance {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	next := maps.Clone(known)
	if next == nil {
		next = map[string]scheduler.DrainingInstance{}
	}
	var mu sync.Mutex
	var g sync.WaitGroup
	for id, order := range orders {
		g.Go(func() {
			told, err := a.Orders.SendOrder(ctx, eps[id], order)
			if err != nil {
				a.Log.Debug("instance was not told", "revision", s.id, "instance", id, "order", order, "error", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if order == wadi.OrderStay { // If it has not heard, its order ends by itself.
				delete(next, id)
				return
			}
			next[id] = leaver(next[id], order, told, err, time.Now())
		})
	}
	g.Wait()
	a.noteLeaving(s, known, next)
	return next
}

// leaver is what is known of an instance after it was told.
func leaver(l scheduler.DrainingInstance, order wadi.Order, told wadi.OrderAnswer, err error, now time.Time) scheduler.DrainingInstance {
	if l.Since.IsZero() {
		l.Since = now
	}
	l.Order, l.SentAt = order, now
	switch {
	case errors.Is(err, wadi.ErrNoOrders):
		l.RefusesOrders = true
	case err == nil:
		l.AnsweredAt, l.Answer = now, told
	}
	return l
}

// noteLeaving logs who is to go now and was not, and who stays after all.
func (a *Autoscaler) noteLeaving(s *subject, before, after map[string]scheduler.DrainingInstance) {
	log := func(what string, of, except map[string]scheduler.DrainingInstance) {
		var ids []string
		for _, id := range slices.Sorted(maps.Keys(of)) {
			if _, there := except[id]; !there {
				ids = append(ids, id)
			}
		}
		if len(ids) > 0 {
			a.Log.Info(what, "revision", s.id, "instances", fmt.Sprint(ids))
		}
	}
	log("instances are to go when nothing is in flight there", after, before)
	log("instances stay after all", before, after)
}

// follow has a revision looked at every second, or not any more.
func (a *Autoscaler) follow(revision string, leaves bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !leaves {
		delete(a.leaving, revision)
		return
	}
	a.leaving[revision] = true
}

// followLeaving looks at revisions of which instances are to go, until ctx ends.
func (a *Autoscaler) followLeaving(ctx context.Context) {
	tick := time.NewTicker(leaveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a.evaluateAll(ctx, a.recordsOf(maps.Keys(a.leaving)))
	}
}
