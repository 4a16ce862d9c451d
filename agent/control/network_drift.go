package control

import (
	"cmp"
	"time"
)

// Edits are the services whose entries in the network layers may have been edited, so that
// they are put back at once. The recheck finds what it misses.
type Edits interface {
	// News signals that Take has something.
	News() <-chan struct{}
	// Take returns the services since it was called last; all: any may be among them.
	Take() (services []string, all bool)
}

// repeatsWithin is how soon another edit counts as a repeated one. After repeated edits a
// put-back is twice as late each time, up to networkRecheck.
const repeatsWithin = 2 * time.Minute

func (c *Controller) editNews() <-chan struct{} {
	if c.Edits == nil {
		return nil
	}
	return c.Edits.News()
}

// takeEdits has services with edited entries read back again. It reports whether any
// service may be among them.
func (c *Controller) takeEdits() (all bool) {
	names, all := c.Edits.Take()
	for _, name := range names {
		if s := c.services[name]; s != nil {
			s.checked, s.resting = false, false
			s.foreign = false // The foreign entry may be gone.
		}
	}
	if all {
		for _, s := range c.services {
			s.checked = false
		}
	}
	return all
}

// noteReadBack notes whether the network layers were found to carry the route.
func (s *service) noteReadBack(ok bool, why string) {
	if s.programmed && !ok && !s.foreign {
		s.edited = true
	}
	s.programmed, s.whyNot, s.checked = ok, why, true
}

// reapplyAfter is how soon a route that the network layers don't carry is applied again.
// Foreign entries in the way stay, so once in a while is enough. An edit is undone at once,
// unless it is a repeated one.
func (s *service) reapplyAfter() time.Duration {
	switch {
	case s.foreign:
		return networkRecheck
	case s.edited && s.repeatedEdits == 0:
		return 0
	}
	return min(networkRecheck, passInterval<<min(s.repeatedEdits, 10))
}

// notePutBack reports that an edited route is as it was submitted again.
func (c *Controller) notePutBack(s *service, now time.Time) {
	if !s.edited {
		return
	}
	if now.Sub(s.applied) < repeatsWithin {
		s.repeatedEdits++
	} else {
		s.repeatedEdits = 0
	}
	s.edited = false
	c.Events.Add(s.Service.Name, "", EventDriftCorrected,
		cmp.Or(s.whyNot, "its route was edited")+": put back as it was submitted")
	c.Log.Warn("route put back", "service", s.Service.Name, "reason", s.whyNot)
}
