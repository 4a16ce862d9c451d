package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	// drainSettle is how long an instance must have been told to go before it may be
	// stopped: until callers' Envoys know, by Consul's check of every second.
	drainSettle = 3 * time.Second
	// drainQuiet is for how long no request must have come there that it took.
	drainQuiet = time.Second
	// silentAfter is how long an instance may not answer before nothing is expected of
	// it any more: what is in flight there can't be known.
	silentAfter = 10 * time.Second
	// renewOrderAfter is when an order is said again.
	renewOrderAfter = 2 * time.Second
	// orderLifetime is how long an order is in force that is not said again.
	orderLifetime = 10 * time.Second
	// maxDraining is how many are told to go at once, but to zero: each is asked again and
	// again, and one that can't be in time counts as one that does not answer.
	maxDraining = 100
)

// Candidate is an instance that may have to go: one that is placed and not told to stop.
type Candidate struct {
	ID      string
	Index   int  // In its allocation's name.
	Running bool // Nomad says that its tasks run.
	Ready   bool // It answers as ready.
}

// DrainingInstance is what is known of an instance that was told to go, and has not been told
// to stay since.
type DrainingInstance struct {
	Since  time.Time  // When it was first told.
	Order  wadi.Order // What it was told last,
	SentAt time.Time  // and when.

	AnsweredAt    time.Time // When it answered last; zero: never.
	Answer        wadi.Told // What it answered then.
	RefusesOrders bool      // It takes no orders.
}

// Expired reports whether what the instance was told is in force no more, for it was not
// said again: it has taken requests since, and nothing that is known of it counts. Of
// one that has never answered nothing was.
func (l DrainingInstance) Expired(now time.Time) bool {
	return !l.AnsweredAt.IsZero() && !l.RefusesOrders && !l.InForce(now)
}

// InForce reports whether what the instance was told may still be in force.
func (l DrainingInstance) InForce(now time.Time) bool { return now.Sub(l.SentAt) < orderLifetime }

// ScaleDownInput is what [PlanScaleDown] plans from.
type ScaleDownInput struct {
	Now        time.Time
	Count      int                         // In Nomad.
	Desired    int                         // What it is to be; as much as Count or more: none goes.
	MaxRequest time.Duration               // How long a request may take.
	Alive      []Candidate                 // All of the revision.
	Draining   map[string]DrainingInstance // By instance.
}

// ScaleDownPlan is what is to be done before, or so that, a count is lowered.
type ScaleDownPlan struct {
	Orders     map[string]wadi.Order // To be given now, by instance.
	Count      int                   // What the count may be lowered to now.
	WaitingFor []string              // The instances that are waited for.
	Unready    int                   // How many of those that would stay are to be ready first.
}

// WhyNot says why the count is not lowered any further.
func (p ScaleDownPlan) WhyNot() string {
	if p.Unready > 0 {
		return "more of them go when as many of the others are ready"
	}
	switch len(p.WaitingFor) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("instance %s goes when nothing is in flight there any more", p.WaitingFor[0])
	}
	return fmt.Sprintf("%d instances go when nothing is in flight there any more", len(p.WaitingFor))
}

// PlanScaleDown says who is to go before a count is lowered, and how far it may be lowered
// now: a client of Nomad ends what it stops after 30 s by default, whatever is in flight
// there. It is level-triggered: who is told to go and need not any more is told to stay.
//
// To zero all go together, and each only if nobody comes: an instance that takes a
// request stays, for there is nobody else. When all have been idle for long enough they
// are told to go in earnest, so that what comes from then on waits at an activator.
func PlanScaleDown(in ScaleDownInput) ScaleDownPlan {
	p := ScaleDownPlan{Orders: map[string]wadi.Order{}, Count: in.Count}
	going := surplus(in.Alive, in.Desired)
	p.Unready = in.unready(going)
	for in.unready(going) > 0 { // Whom nobody takes the place of stays; one that is never ready keeps no others.
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
		in.addOrder(p.Orders, c, order)
	}
	for _, c := range in.Alive {
		if _, told := in.Draining[c.ID]; told && !slices.Contains(going, c) {
			p.Orders[c.ID] = wadi.OrderStay
		}
	}
	if in.Desired >= in.Count {
		return p
	}
	lowered := len(in.Alive)
	for i, c := range going {
		l := in.Draining[c.ID]
		if done := in.isDrained(c, l) && (!last || in.isClosed(c, l)); !done {
			for _, w := range going[i:] {
				p.WaitingFor = append(p.WaitingFor, w.ID)
			}
			break
		}
		lowered--
	}
	if last && len(p.WaitingFor) > 0 {
		return p // All or none.
	}
	p.Count = min(in.Count, max(lowered, in.Desired))
	return p
}

// surplus are the instances that Nomad stops when the count becomes n, the first one
// first: those with the highest index of their names (computeStop in Nomad's reconciler).
func surplus(alive []Candidate, n int) []Candidate {
	if len(alive) <= n {
		return nil
	}
	sorted := slices.SortedFunc(slices.Values(alive), func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Index, a.Index), cmp.Compare(a.ID, b.ID))
	})
	return sorted[:len(alive)-n]
}

// unready is how many of those that would stay are to be ready before any goes that is:
// the one in place of an instance that moves may not have started.
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

// addOrder adds an order, if it is a new one or time to say it again.
func (in *ScaleDownInput) addOrder(orders map[string]wadi.Order, c Candidate, order wadi.Order) {
	l, known := in.Draining[c.ID]
	if !known || !l.RefusesOrders && (l.Order != order || in.Now.Sub(l.SentAt) >= renewOrderAfter) {
		orders[c.ID] = order
	}
}

// allDrained reports whether nothing is in flight at any of them.
func (in *ScaleDownInput) allDrained(going []Candidate) bool {
	return !slices.ContainsFunc(going, func(c Candidate) bool { return !in.isDrained(c, in.Draining[c.ID]) })
}

// isDrained reports whether an instance may be stopped. Upgraded connections are not
// waited for: they are told by the drain that comes then, which can't be taken back.
func (in *ScaleDownInput) isDrained(c Candidate, l DrainingInstance) bool {
	switch {
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

// isGivenUp reports whether nothing is expected of an instance any more: it takes no
// orders, can't tell, or was told so long ago that who still comes does not count.
func (in *ScaleDownInput) isGivenUp(c Candidate, l DrainingInstance) bool {
	return l.RefusesOrders || in.Now.Sub(l.Since) >= drainSettle+2*in.MaxRequest || in.isSilent(c, l)
}

// isSilent reports whether an instance can't tell: none of its processes may have
// started, or all may be gone.
func (in *ScaleDownInput) isSilent(c Candidate, l DrainingInstance) bool {
	if l.AnsweredAt.IsZero() && !c.Running {
		return !l.SentAt.IsZero()
	}
	heard := l.AnsweredAt
	if heard.IsZero() {
		heard = l.Since
	}
	return in.Now.Sub(heard) >= silentAfter
}

// isClosed reports whether an instance, if it can be told anything, takes no more.
func (in *ScaleDownInput) isClosed(c Candidate, l DrainingInstance) bool {
	return in.isGivenUp(c, l) || l.Answer.Order == wadi.OrderGo
}
