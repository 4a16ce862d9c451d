package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	// drainSettle is how long an instance must drain before it may be stopped: until
	// callers' Envoys know of the drain, through a Consul check that runs every second.
	drainSettle = 3 * time.Second
	// drainQuiet is how long the instance must not have accepted a request.
	drainQuiet = time.Second
	// silentAfter is how long an instance may not answer before the plan stops waiting for
	// it: whether requests are in flight there can't be known.
	silentAfter = 10 * time.Second
	// renewOrderAfter is when an order is sent again.
	renewOrderAfter = 2 * time.Second
	// orderLifetime is how long an order is in force if it is not sent again.
	orderLifetime = 10 * time.Second
	// maxDraining is how many instances drain at once, except to zero. Each is polled, and
	// an instance that can't be polled in time counts as silent.
	maxDraining = 100
)

// Candidate is an instance that a scale-down may stop: it is placed and not stopped.
type Candidate struct {
	ID      string
	Index   int  // The index in its allocation's name.
	Running bool // Its tasks run, as Nomad reports.
	Ready   bool // It is ready for requests.
}

// DrainingInstance is an instance that was ordered to drain, and has not been ordered to
// stay since.
type DrainingInstance struct {
	Since  time.Time  // When the first order was sent.
	Order  wadi.Order // The last order,
	SentAt time.Time  // and when it was sent.

	AnsweredAt    time.Time        // Its last answer; zero: never.
	Answer        wadi.OrderAnswer // The last answer.
	RefusesOrders bool             // It can't take orders.
}

// Expired reports whether an order has ended because it was not renewed. The instance has
// accepted requests since, so its last answer no longer counts. An instance that never
// answered has no order that could expire.
func (l DrainingInstance) Expired(now time.Time) bool {
	return !l.AnsweredAt.IsZero() && !l.RefusesOrders && !l.InForce(now)
}

// InForce reports whether the last order may still be in force.
func (l DrainingInstance) InForce(now time.Time) bool { return now.Sub(l.SentAt) < orderLifetime }

// ScaleDownInput is what [PlanScaleDown] plans from.
type ScaleDownInput struct {
	Now        time.Time
	Count      int                         // The job's count in Nomad.
	Desired    int                         // The count wanted; Count or more: no instance drains.
	MaxRequest time.Duration               // How long a request may take.
	Alive      []Candidate                 // All known instances of the revision.
	Fewer      time.Time                   // Since when fewer than Count are known, if they are; zero: for long.
	Draining   map[string]DrainingInstance // By instance.
}

// ScaleDownPlan is what has to happen before the count is lowered.
type ScaleDownPlan struct {
	Orders     map[string]wadi.Order // By instance: the order to send now.
	Count      int                   // What the count may be lowered to now.
	WaitingFor []string              // The instances that must drain first.
	Unseen     int                   // How many instances must be heard of first, or not be for a while.
	Unready    int                   // How many of the remaining instances must become ready first.
}

// WhyNot says why the count is not lowered further.
func (p ScaleDownPlan) WhyNot() string {
	if p.Unready > 0 {
		return "more instances stop when as many of the others are ready"
	}
	switch len(p.WaitingFor) {
	case 0:
		if p.Unseen > 0 {
			return "Nomad may have placed instances that are not known yet"
		}
		return ""
	case 1:
		return fmt.Sprintf("instance %s stops when it has no request in flight", p.WaitingFor[0])
	}
	return fmt.Sprintf("%d instances stop when they have no request in flight", len(p.WaitingFor))
}

// PlanScaleDown says which instances drain before a count is lowered, and how far it may
// be lowered now. A Nomad client kills what it stops after 30 s by default, even with
// requests in flight. The plan is level-triggered: an instance that drains and need not
// any more is ordered to stay.
//
// To zero, all instances drain together, and each only while it is idle: an instance that
// gets a request stays, as there is no other one. When all have been idle for long enough
// they are ordered to drain finally, so later requests wait at an activator.
func PlanScaleDown(in ScaleDownInput) ScaleDownPlan {
	p := ScaleDownPlan{Orders: map[string]wadi.Order{}, Count: in.Count}
	going := surplus(slices.Concat(in.Alive, in.unknown()), in.Desired)
	p.Unready = in.unready(going)
	for in.unready(going) > 0 { // An instance without a ready replacement stays.
		going = going[:len(going)-1]
	}
	order, last := wadi.OrderGo, in.Desired == 0
	if !last {
		going = going[:min(len(going), maxDraining)]
	}
	if last && !in.allDrained(going) {
		order = wadi.OrderGoIfIdle
	}
	for _, c := range going {
		if c.ID != "" {
			in.addOrder(p.Orders, c, order)
		}
	}
	for _, c := range in.Alive {
		if _, draining := in.Draining[c.ID]; draining && !slices.Contains(going, c) {
			p.Orders[c.ID] = wadi.OrderStay
		}
	}
	if in.Desired < in.Count {
		in.lower(&p, going)
	}
	return p
}

// lower sets how far the count may be lowered now: Nomad stops instances in order, so
// one that has not drained keeps all after it. To zero it is all or none.
func (in *ScaleDownInput) lower(p *ScaleDownPlan, going []Candidate) {
	last := in.Desired == 0
	lowered := max(in.Count, len(in.Alive))
	waits := false
	for i, c := range going {
		l := in.Draining[c.ID]
		if done := in.isDrained(c, l) && (!last || in.isClosed(c, l)); !done {
			waits = true
			for _, w := range going[i:] {
				if w.ID == "" {
					p.Unseen++
					continue
				}
				p.WaitingFor = append(p.WaitingFor, w.ID)
			}
			break
		}
		lowered--
	}
	if last && waits {
		return
	}
	p.Count = min(in.Count, max(lowered, in.Desired))
}

// unknown stand for instances that Nomad has placed, or is about to place, and this agent
// has not heard of: as many as the count is above those that are known. Nomad gives them
// the lowest names that are free. So after an instance died, lowering the count may stop a
// known one though no more of them are known than are to stay.
func (in *ScaleDownInput) unknown() (out []Candidate) {
	taken := make(map[int]bool, len(in.Alive))
	for _, c := range in.Alive {
		taken[c.Index] = true
	}
	for i := 0; len(in.Alive)+len(out) < in.Count; i++ {
		if !taken[i] {
			out = append(out, Candidate{Index: i})
		}
	}
	return out
}

// surplus are the instances that Nomad stops when the count becomes n, in its order:
// highest name index first (computeStop in Nomad's reconciler).
func surplus(alive []Candidate, n int) []Candidate {
	if len(alive) <= n {
		return nil
	}
	sorted := slices.SortedFunc(slices.Values(alive), func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Index, a.Index), cmp.Compare(a.ID, b.ID))
	})
	return sorted[:len(alive)-n]
}

// unready is how many of the remaining instances must become ready before a ready one
// drains: the replacement of a migrating instance may not have started.
func (in *ScaleDownInput) unready(going []Candidate) int {
	ready, goes := countReady(in.Alive), countReady(going)
	if goes == 0 {
		return 0
	}
	return max(0, min(in.Desired, ready)-(ready-goes))
}

func countReady(of []Candidate) (n int) {
	for _, c := range of {
		if c.Ready {
			n++
		}
	}
	return n
}

// addOrder adds an order if it is new or due to be renewed.
func (in *ScaleDownInput) addOrder(orders map[string]wadi.Order, c Candidate, order wadi.Order) {
	l, known := in.Draining[c.ID]
	if !known || !l.RefusesOrders && (l.Order != order || in.Now.Sub(l.SentAt) >= renewOrderAfter) {
		orders[c.ID] = order
	}
}

// allDrained reports whether all may be stopped.
func (in *ScaleDownInput) allDrained(going []Candidate) bool {
	return !slices.ContainsFunc(going, func(c Candidate) bool { return !in.isDrained(c, in.Draining[c.ID]) })
}

// isDrained reports whether an instance may be stopped. Upgraded connections do not count:
// they are shut down by the drain that comes with the stop, which can't be undone.
func (in *ScaleDownInput) isDrained(c Candidate, l DrainingInstance) bool {
	switch {
	case c.ID == "": // It can't be asked.
		return in.Now.Sub(in.Fewer) >= silentAfter
	case l.Since.IsZero():
		return false
	case in.isGivenUp(c, l):
		return true
	case l.AnsweredAt.IsZero():
		return false
	}
	s := l.Answer
	return s.Order != wadi.OrderStay && s.Requests == 0 && s.Since() >= drainSettle && s.Quiet() >= drainQuiet
}

// isGivenUp reports whether the plan no longer waits for an instance: it takes no orders,
// is silent, or has drained for so long that requests still coming do not count.
func (in *ScaleDownInput) isGivenUp(c Candidate, l DrainingInstance) bool {
	return l.RefusesOrders || in.Now.Sub(l.Since) >= drainSettle+2*in.MaxRequest || in.isSilent(c, l)
}

// isSilent reports whether an instance can't answer: its processes may not have started,
// or may have ended. One that is ready has started, though Nomad may need a second longer to
// report that it runs.
func (in *ScaleDownInput) isSilent(c Candidate, l DrainingInstance) bool {
	if l.AnsweredAt.IsZero() && !c.Running && !c.Ready {
		return !l.SentAt.IsZero()
	}
	lastAnswer := l.AnsweredAt
	if lastAnswer.IsZero() {
		lastAnswer = l.Since
	}
	return in.Now.Sub(lastAnswer) >= silentAfter
}

// isClosed reports whether an instance accepts no more requests, if it takes orders at
// all.
func (in *ScaleDownInput) isClosed(c Candidate, l DrainingInstance) bool {
	return c.ID == "" || in.isGivenUp(c, l) || l.Answer.Order == wadi.OrderGo
}
