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
	// drainEvery is how often revisions with draining instances are evaluated.
	drainEvery = time.Second
	// orderTimeout bounds one order to one instance.
	orderTimeout = 2 * time.Second
	// orderRounds bounds the rounds of one plan: an order may follow from the answer to
	// the order before it.
	orderRounds = 3
	// defaultMaxRequest stands in where requests have no timeout.
	defaultMaxRequest = time.Hour
)

// scaleDown orders the instances that Nomad will stop to drain before the count becomes n,
// and cancels the orders of those that stay. The plan says how far the count may be
// lowered now.
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
	r.noteFewer(len(in.Alive), count, now)
	in.Fewer = r.fewer
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

// noteFewer notes since when fewer instances are known than the count says.
func (r *record) noteFewer(alive, count int, now time.Time) {
	if alive >= count {
		r.fewer = time.Time{}
	} else if r.fewer.IsZero() {
		r.fewer = now
	}
}

// cancelScaleDown cancels the orders of all draining instances.
func (a *Autoscaler) cancelScaleDown(ctx context.Context, r *record, s *subject, count int) {
	if len(r.draining) > 0 {
		a.scaleDown(ctx, r, s, count, count)
	}
}

// keepsOrders reports whether draining instances go on draining though the load is not
// known for a moment, as happens on a busy machine: cancelled, they would have to begin
// anew. If it lasts the orders expire by themselves. Where no other instance would stay,
// the orders are cancelled at once.
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

// forgetDraining drops the orders: there are no instances, or they end otherwise.
func (a *Autoscaler) forgetDraining(r *record, s *subject) {
	if r.draining != nil {
		r.draining = nil
		a.setDraining(s.id, false)
	}
}

// sendOrders sends orders, all at once, and returns what is known after that.
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
			answer, err := a.Orders.SendOrder(ctx, eps[id], order)
			if err != nil {
				a.Log.Debug("order was not delivered", "revision", s.id, "instance", id, "order", order, "error", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if order == wadi.OrderStay { // If that was not delivered, the order before expires by itself.
				delete(next, id)
				return
			}
			next[id] = afterOrder(next[id], order, answer, err, time.Now())
		})
	}
	g.Wait()
	a.logDraining(s, known, next)
	return next
}

// afterOrder is what is known of an instance after an order.
func afterOrder(l scheduler.DrainingInstance, order wadi.Order, answer wadi.OrderAnswer, err error, now time.Time) scheduler.DrainingInstance {
	if l.Since.IsZero() {
		l.Since = now
	}
	l.Order, l.SentAt = order, now
	switch {
	case errors.Is(err, wadi.ErrNoOrders):
		l.RefusesOrders = true
	case err == nil:
		l.AnsweredAt, l.Answer = now, answer
	}
	return l
}

// logDraining logs which instances begin to drain, and which stay after all.
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
	log("instances drain, to be stopped when nothing is in flight there", after, before)
	log("instances stay after all", before, after)
}

// setDraining has a revision evaluated every drainEvery, or not any more.
func (a *Autoscaler) setDraining(revision string, drains bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !drains {
		delete(a.draining, revision)
		return
	}
	a.draining[revision] = true
}

// followDraining evaluates revisions with draining instances, until ctx ends.
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
