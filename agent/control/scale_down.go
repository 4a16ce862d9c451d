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
	// drainEvery is how often revisions are looked at of which instances are to go.
	drainEvery = time.Second
	// orderTimeout bounds the telling of one instance.
	orderTimeout = 2 * time.Second
	// orderRounds bounds the rounds of one look: an order may follow from what was said
	// to the one before.
	orderRounds = 3
	// defaultMaxRequest stands for the bound of requests that have none.
	defaultMaxRequest = time.Hour
)

// scaleDown has the instances told that are to go before the count becomes n, and those
// that need not any more, and returns how far the count may be lowered now.
func (a *Autoscaler) scaleDown(ctx context.Context, r *record, s *subject, count, n int) scheduler.ScaleDownPlan {
	if a.Orders == nil {
		return scheduler.ScaleDownPlan{Count: n}
	}
	eps := map[string]wadi.Endpoint{}
	in := scheduler.ScaleDownInput{Count: count, Desired: n, MaxRequest: s.maxRequest, Draining: r.draining}
	all, _ := a.Cluster.Endpoints(s.namespace, s.id)
	for _, ep := range all {
		if !ep.Stopping {
			eps[ep.Instance] = ep
			in.Alive = append(in.Alive, scheduler.Candidate{ID: ep.Instance, Index: ep.Index, Running: ep.Running, Ready: a.Loads.Ready(ep.Instance)})
		}
	}
	now := time.Now()
	maps.DeleteFunc(r.draining, func(id string, l scheduler.DrainingInstance) bool {
		_, there := eps[id]
		return !there || l.Expired(now)
	})
	var plan scheduler.ScaleDownPlan
	for range orderRounds {
		in.Now = time.Now()
		if plan = scheduler.PlanScaleDown(in); len(plan.Orders) == 0 {
			break
		}
		in.Draining = a.sendOrders(ctx, s, eps, in.Draining, plan.Orders)
	}
	r.draining = in.Draining
	a.setDraining(s.id, len(r.draining) > 0)
	return plan
}

// cancelScaleDown has those told to stay that were told to go.
func (a *Autoscaler) cancelScaleDown(ctx context.Context, r *record, s *subject, count int) {
	if len(r.draining) > 0 {
		a.scaleDown(ctx, r, s, count, count)
	}
}

// keepsOrders reports whether those who were told to go are let be: nothing is known for a
// moment, as happens on a busy machine, and they would have to begin anew. If it lasts
// their orders end by themselves. Where no other instance stays they are had back at once.
func (r *record) keepsOrders(d *wadi.Decision, now time.Time) bool {
	if !scheduler.Unknown(d) || len(r.draining) >= r.alive {
		return false
	}
	for _, l := range r.draining {
		if l.InForce(now) {
			return true
		}
	}
	return false
}

// forgetDraining drops what was told: there are no instances, or they end otherwise.
func (a *Autoscaler) forgetDraining(r *record, s *subject) {
	if r.draining != nil {
		r.draining = nil
		a.setDraining(s.id, false)
	}
}

// sendOrders gives orders, all at once, and returns what is known after that.
func (a *Autoscaler) sendOrders(ctx context.Context, s *subject, eps map[string]wadi.Endpoint, known map[string]scheduler.DrainingInstance, orders map[string]wadi.Order) map[string]scheduler.DrainingInstance {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
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
			next[id] = afterOrder(next[id], order, told, err, time.Now())
		})
	}
	g.Wait()
	a.logDraining(s, known, next)
	return next
}

// afterOrder is what is known of an instance after it was told.
func afterOrder(l scheduler.DrainingInstance, order wadi.Order, told wadi.OrderAnswer, err error, now time.Time) scheduler.DrainingInstance {
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

// logDraining logs who is to go now and was not, and who stays after all.
func (a *Autoscaler) logDraining(s *subject, before, after map[string]scheduler.DrainingInstance) {
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

// setDraining has a revision looked at every second, or not any more.
func (a *Autoscaler) setDraining(revision string, leaves bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !leaves {
		delete(a.draining, revision)
		return
	}
	a.draining[revision] = true
}

// followDraining looks at revisions of which instances are to go, until ctx ends.
func (a *Autoscaler) followDraining(ctx context.Context) {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a.evaluateAll(ctx, a.recordsOf(maps.Keys(a.draining)))
	}
}
