package scheduler_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

func TestPlanScaleDown(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	candidates := func(n int) (all []scheduler.Candidate) {
		for i := range n { // In no order of their own.
			all = append(all, scheduler.Candidate{ID: string(rune('a' + i)), Index: i, Running: true})
		}
		return all
	}
	// ordered is an instance that got an order just now, and has been draining for so long.
	ordered := func(order wadi.Order, requests int, since, quiet time.Duration) scheduler.DrainingInstance {
		return scheduler.DrainingInstance{
			Since: ago(since), Order: order, SentAt: ago(time.Second), AnsweredAt: ago(time.Second),
			Answer: wadi.OrderAnswer{Order: order, Requests: requests, SinceMS: since.Milliseconds(), QuietMS: quiet.Milliseconds()},
		}
	}
	stayed := ordered(wadi.OrderGoIfIdle, 1, 5*time.Second, 0)
	stayed.Answer.Order = wadi.OrderStay
	old := ordered(wadi.OrderGo, 0, 5*time.Second, 5*time.Second)
	old.SentAt = ago(3 * time.Second)
	gone := old
	gone.AnsweredAt, gone.Answer.Requests = ago(11*time.Second), 3
	type known = map[string]scheduler.DrainingInstance
	type orders = map[string]wadi.Order
	busy, idle := ordered(wadi.OrderGo, 1, 5*time.Second, 5*time.Second), ordered(wadi.OrderGo, 0, 5*time.Second, 5*time.Second)
	lastIdle := ordered(wadi.OrderGoIfIdle, 0, 5*time.Second, 5*time.Second)
	for _, tt := range []struct {
		name           string
		alive          []scheduler.Candidate
		count, desired int
		known          known
		orders         orders
		lower          int
		waits          []string
	}{
		{"the highest names go", candidates(4), 4, 2, nil, orders{"c": wadi.OrderGo, "d": wadi.OrderGo}, 4, []string{"d", "c"}},
		{"one has a request", candidates(2), 2, 1, known{"b": busy}, nil, 2, []string{"b"}},
		{"nothing is in flight", candidates(2), 2, 1, known{"b": idle}, nil, 1, nil},
		{"callers have not heard yet", candidates(2), 2, 1, known{"b": ordered(wadi.OrderGo, 0, 2*time.Second, 2*time.Second)}, nil, 2, []string{"b"}},
		{"one came just now", candidates(2), 2, 1, known{"b": ordered(wadi.OrderGo, 0, 9*time.Second, 500*time.Millisecond)}, nil, 2, []string{"b"}},
		{"they come for ever", candidates(2), 2, 1, known{"b": ordered(wadi.OrderGo, 7, 3*time.Second+2*time.Minute, 0)}, nil, 1, nil},
		{"step by step", candidates(4), 4, 1, known{"d": idle, "c": busy, "b": idle}, nil, 3, []string{"c", "b"}},
		{"ordered again in time", candidates(2), 2, 1, known{"b": old}, orders{"b": wadi.OrderGo}, 1, nil},
		{"the load is back", candidates(2), 2, 2, known{"b": busy}, orders{"b": wadi.OrderStay}, 2, nil},
		{"more than ever", candidates(2), 2, 5, known{"b": busy}, orders{"b": wadi.OrderStay}, 2, nil},
		{"half of it is back", candidates(3), 3, 2, known{"c": busy, "b": idle}, orders{"b": wadi.OrderStay}, 3, []string{"c"}},
		{"what is not placed need not go", candidates(1), 5, 2, nil, nil, 2, nil},
		{"nothing is placed", nil, 3, 0, nil, nil, 0, nil},
		{"it takes no orders", candidates(2), 2, 1, known{"b": {Since: ago(time.Second), SentAt: ago(time.Second), RefusesOrders: true}}, nil, 1, nil},
		{"it does not answer", candidates(2), 2, 1, known{"b": {Since: ago(time.Second), Order: wadi.OrderGo, SentAt: ago(time.Second)}}, nil, 2, []string{"b"}},
		{"it does not answer for long", candidates(2), 2, 1, known{"b": {Since: ago(time.Minute), Order: wadi.OrderGo, SentAt: ago(time.Second)}}, nil, 1, nil},
		{"it answers no more", candidates(2), 2, 1, known{"b": gone}, orders{"b": wadi.OrderGo}, 1, nil},
		{"its processes have not started", []scheduler.Candidate{{ID: "a", Running: true}, {ID: "b", Index: 1}}, 2, 1,
			known{"b": {Since: ago(time.Second), Order: wadi.OrderGo, SentAt: ago(time.Second)}}, nil, 1, nil},

		{"it serves, and Nomad has not reported that it runs", []scheduler.Candidate{{ID: "a", Running: true, Ready: true}, {ID: "b", Index: 1, Ready: true}}, 2, 1,
			known{"b": {Since: ago(time.Second), Order: wadi.OrderGo, SentAt: ago(time.Second)}}, nil, 2, []string{"b"}},

		{"to zero: only if nobody comes", candidates(2), 2, 0, nil, orders{"a": wadi.OrderGoIfIdle, "b": wadi.OrderGoIfIdle}, 2, []string{"b", "a"}},
		{"to zero: all idle", candidates(2), 2, 0, known{"a": lastIdle, "b": lastIdle}, orders{"a": wadi.OrderGo, "b": wadi.OrderGo}, 2, []string{"b", "a"}},
		{"to zero: in earnest", candidates(2), 2, 0, known{"a": idle, "b": idle}, nil, 0, nil},
		{"to zero: one was called", candidates(2), 2, 0, known{"a": stayed, "b": lastIdle}, nil, 2, []string{"b", "a"}},
		{"to zero: called at the last moment", candidates(2), 2, 0, known{"a": busy, "b": idle}, orders{"a": wadi.OrderGoIfIdle, "b": wadi.OrderGoIfIdle}, 2, []string{"a"}},
		{"who would stay is not ready", []scheduler.Candidate{{ID: "a"}, {ID: "b", Index: 1, Running: true, Ready: true}}, 2, 1, known{"b": busy}, orders{"b": wadi.OrderStay}, 2, nil},
		{"some of those that would stay are not ready", []scheduler.Candidate{{ID: "a"}, {ID: "b", Index: 1, Ready: true}, {ID: "c", Index: 2, Ready: true}, {ID: "d", Index: 3, Ready: true}}, 4, 2,
			known{"c": idle, "d": idle}, orders{"c": wadi.OrderStay}, 3, nil},
		{"who would stay is ready", []scheduler.Candidate{{ID: "a", Ready: true}, {ID: "b", Index: 1, Ready: true}}, 2, 1, known{"b": idle}, nil, 1, nil},
		{"who goes is not ready", []scheduler.Candidate{{ID: "a", Ready: true}, {ID: "b", Index: 1}}, 2, 1, known{"b": idle}, nil, 1, nil},
	} {
		got := scheduler.PlanScaleDown(scheduler.ScaleDownInput{
			Now: now, Count: tt.count, Desired: tt.desired, MaxRequest: time.Minute, Alive: tt.alive, Draining: tt.known,
		})
		want := scheduler.ScaleDownPlan{Orders: tt.orders, Count: tt.lower, WaitingFor: tt.waits}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(scheduler.ScaleDownPlan{}, "Unready")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Nomad gives an instance in place of one that died the same name, and stops the highest: the
// count is not lowered to the number of known instances as if that stopped none of them.
func TestPlanScaleDown_OneIsNotKnown(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	in := scheduler.ScaleDownInput{
		Now: now, Count: 3, Desired: 2, MaxRequest: time.Minute, Fewer: now.Add(-time.Second),
		Alive: []scheduler.Candidate{{ID: "b", Index: 1, Running: true, Ready: true}, {ID: "c", Index: 2, Running: true, Ready: true}},
	}
	if p := scheduler.PlanScaleDown(in); p.Count != 3 || p.Orders["c"] != "" {
		t.Errorf("plan %+v: the two that are ready are to stay until the third is", p)
	}
	in.Desired = 1
	if p := scheduler.PlanScaleDown(in); p.Count != 3 || p.Orders["c"] != wadi.OrderGo || p.Orders["b"] != "" {
		t.Errorf("plan %+v: c is the highest, and has to drain first", p)
	}
	in.Alive[0].Index, in.Alive[1].Index, in.Desired = 0, 1, 2 // The unknown one is the highest.
	if p := scheduler.PlanScaleDown(in); p.Count != 3 || p.WhyNot() == "" {
		t.Errorf("plan %+v: the one that is not known may have requests", p)
	}
	in.Fewer = now.Add(-10 * time.Second)
	if p := scheduler.PlanScaleDown(in); p.Count != 2 || len(p.Orders) != 0 {
		t.Errorf("plan %+v: it was not heard of for long", p)
	}
}

// Only so many instances drain at once as can be polled.
func TestPlanScaleDown_ManyGoInTurns(t *testing.T) {
	var alive []scheduler.Candidate
	for i := range 1000 {
		alive = append(alive, scheduler.Candidate{ID: strconv.Itoa(i), Index: i, Running: true, Ready: true})
	}
	in := scheduler.ScaleDownInput{Now: time.Unix(1_700_000_000, 0), Count: 1000, Desired: 500, MaxRequest: time.Minute, Alive: alive}
	p := scheduler.PlanScaleDown(in)
	if len(p.Orders) != 100 || p.Orders["999"] != wadi.OrderGo || p.Orders["900"] != wadi.OrderGo || p.Count != 1000 {
		t.Errorf("%d are told, and the count becomes %d", len(p.Orders), p.Count)
	}
	in.Draining = map[string]scheduler.DrainingInstance{}
	for id := range p.Orders {
		in.Draining[id] = scheduler.DrainingInstance{Since: in.Now, SentAt: in.Now, Order: wadi.OrderGo, RefusesOrders: true}
	}
	if p := scheduler.PlanScaleDown(in); p.Count != 900 || len(p.Orders) != 0 {
		t.Errorf("when they may go the count becomes %d, and %d are told", p.Count, len(p.Orders))
	}
}
