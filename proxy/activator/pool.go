package activator

import (
	"math/rand/v2"
	"time"

	"github.com/wadi-run/wadi"
)

// pool has the instances of one revision: which of them Nomad has placed, which can
// take requests, and how many each has.
//
// An instance is in rotation, and counted in ready, from admit until remove from
// rotation. available has exactly the instances with a free slot: those in rotation with
// less than limit requests. An instance knows its index in available. It is in instances
// until Nomad ends or moves it; the last request on one that is not closes it.
//
// Its revision's mutex guards it and the instances' fields that say so, and its revision
// locks. No method blocks.
type pool struct {
	instances map[string]*instance // By allocation.
	placed    int                  // Instances that are not stopped in Nomad, with an address or not.
	ready     int                  // Instances in rotation.
	available []*instance          // Those with a free slot, in no order.

	limit      int       // Slots of each instance; 0: any number. See share.go.
	borrowedAt time.Time // When limit was last raised above this activator's share, or the first instance became ready.

	probesPaused  bool   // Some instance is neither ready nor probed, for want of requests.
	unreadyReason string // Why the last instance that was not ready was not; empty: unknown.
}

// sync adds the instances that eps has and the pool has not, made by create, and
// removes those that are not in eps any more. It returns how many it has added, and the
// removed ones without requests, for the caller to close.
func (p *pool) sync(eps []wadi.Endpoint, create func(wadi.Endpoint) *instance) (added int, unused []*instance) {
	p.placed = 0
	seen := make(map[string]bool, len(eps))
	for _, ep := range eps {
		if ep.Ended {
			continue
		}
		if !ep.Stopping {
			p.placed++
		}
		if ep.Addr == "" {
			continue // Nomad has not yet placed it so far that it could be dialled.
		}
		i := p.instances[ep.Instance]
		if i != nil && i.ep.Addr != ep.Addr {
			unused = append(unused, p.remove(i)...)
			i = nil
		}
		seen[ep.Instance] = true
		switch {
		case i == nil && !ep.Stopping:
			p.instances[ep.Instance] = create(ep)
			added++
		case i != nil && ep.Stopping && !i.stopping:
			i.stopping = true
			p.eject(i)
		}
		if i = p.instances[ep.Instance]; i != nil {
			i.pull = ep.Pull
		}
	}
	for id, i := range p.instances {
		if !seen[id] {
			unused = append(unused, p.remove(i)...)
		}
	}
	return added, unused
}

// remove forgets i, and returns it if it has no requests, for the caller to close.
func (p *pool) remove(i *instance) (unused []*instance) {
	i.gone = true
	p.eject(i)
	delete(p.instances, i.ep.Instance)
	if i.inFlight > 0 {
		return nil // Its last request closes it.
	}
	return []*instance{i}
}

// removeAll forgets all instances, and returns those without requests.
func (p *pool) removeAll() (unused []*instance) {
	for _, i := range p.instances {
		unused = append(unused, p.remove(i)...)
	}
	return unused
}

// admit takes i, which a probe has found ready, into rotation.
func (p *pool) admit(i *instance, now time.Time) {
	i.ready, i.readyAt = true, now
	i.answered(now)
	p.ready++
	p.updateAvailable(i)
}

// eject takes i out of rotation, if it is in. It ends the probe of an instance that
// stops or is gone.
func (p *pool) eject(i *instance) {
	if i.ready {
		i.ready = false
		i.ejections++
		p.ready--
		p.updateAvailable(i)
	}
	if i.cancelProbe != nil && (i.stopping || i.gone) {
		i.cancelProbe()
	}
}

// startProbes returns the instances whose probes the caller has to start now, marked as
// probed. Without wanted requests are missing, and probes pause.
func (p *pool) startProbes(wanted bool) (start []*instance) {
	for _, i := range p.instances {
		if i.ready || i.probing || i.stopping {
			continue
		}
		if !wanted {
			p.probesPaused = true
			return nil
		}
		i.probing = true
		start = append(start, i)
	}
	return start
}

// take occupies a slot of i.
func (p *pool) take(i *instance) {
	i.inFlight++
	p.updateAvailable(i)
}

// free frees a slot of i. It reports whether i is to be closed: it is gone, and that was
// its last request.
func (p *pool) free(i *instance) (unused bool) {
	i.inFlight--
	p.updateAvailable(i)
	return i.gone && i.inFlight == 0
}

// hasSlot reports whether i may get another request.
func (p *pool) hasSlot(i *instance) bool {
	return i.ready && (p.limit == 0 || i.inFlight < p.limit)
}

// updateAvailable adds i to available, or removes it. It follows each change of what
// hasSlot depends on.
func (p *pool) updateAvailable(i *instance) {
	switch free := p.hasSlot(i); {
	case free && i.index < 0:
		i.index = len(p.available)
		p.available = append(p.available, i)
	case !free && i.index >= 0:
		last := p.available[len(p.available)-1]
		p.available[i.index], last.index = last, i.index
		p.available[len(p.available)-1] = nil
		p.available = p.available[:len(p.available)-1]
		i.index = -1
	}
}

// pick returns an instance with a free slot: of two chosen at random, the one with
// fewer requests in flight. It returns nil if none has a slot.
//
// Two random choices come close to the least busy of all, at a cost that does not
// grow with their number, and without all activators choosing the same one at once
// (Mitzenmacher, "The power of two choices in randomized load balancing", 2001).
func (p *pool) pick() *instance {
	switch n := len(p.available); n {
	case 0:
		return nil
	case 1:
		return p.available[0]
	default:
		a, b := rand.IntN(n), rand.IntN(n-1)
		if b >= a {
			b++
		}
		if p.available[b].inFlight < p.available[a].inFlight {
			a = b
		}
		return p.available[a]
	}
}

// setLimit changes how many slots each instance has.
func (p *pool) setLimit(n int) {
	if n == p.limit {
		return
	}
	p.limit = n
	for _, i := range p.instances {
		p.updateAvailable(i)
	}
}

// furthest is the instance that has come furthest on its way to ready, of those that
// don't stop; nil: there is none.
func (p *pool) furthest() *instance {
	var best *instance
	for _, i := range p.instances {
		if !i.stopping && (best == nil || i.furtherThan(best)) {
			best = i
		}
	}
	return best
}
