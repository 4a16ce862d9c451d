package control

import (
	"cmp"
	"time"
)

// Edits tells of which services somebody may have edited what the network layers
// wrote, so that it is put back at once. What it misses the recheck finds.
type Edits interface {
	// News signals that Take has something.
	News() <-chan struct{}
	// Take returns the services since it was called last; all: any may be among them.
	Take() (services []string, all bool)
}

// EventPutBack is the type of the event that something which somebody edited is as it
// was submitted again.
const EventPutBack = "DriftCorrected"

// Whoever edits again and again is answered less and less often: a put-back is twice as
// late each time, up to the interval of the recheck, until nobody has edited for a while.
const repeatsWithin = 2 * time.Minute

func (c *Controller) editNews() <-chan struct{} {
	if c.Edits == nil {
		return nil
	}
	return c.Edits.News()
}

// takeEdits has the services looked at again of which something was edited. It reports
// whether that may be any.
func (c *Controller) takeEdits() (all bool) {
	names, all := c.Edits.Take()
	for _, name := range names {
		if s := c.services[name]; s != nil {
			s.checked, s.resting = false, false
			s.foreign = false // Who was in the way may have gone.
		}
	}
	if all {
		for _, s := range c.services {
			s.checked = false
		}
	}
	return all
}

// noteReadBack takes in what the network layers were found to carry.
func (s *service) noteReadBack(ok bool, why string) {
	if s.programmed && !ok && !s.foreign {
		s.edited = true
	}
	s.programmed, s.whyNot, s.checked = ok, why, true
}

// reapplyAfter is how soon a route that the network layers don't carry is given to them again.
// Entries that somebody else owns stay as they are: once in a while is enough. What was
// edited is put back at once, unless that is a fight.
func (s *service) reapplyAfter() time.Duration {
	switch {
	case s.foreign:
		return networkRecheck
	case s.edited && s.repeatedEdits == 0:
		return 0
	}
	return min(networkRecheck, passInterval<<min(s.repeatedEdits, 10))
}

// notePutBack tells that what somebody edited is as it was submitted again.
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
	c.Events.Add(s.Service.Name, "", EventPutBack,
		cmp.Or(s.whyNot, "its route was edited")+": put back as it was submitted")
	c.Log.Warn("route put back", "service", s.Service.Name, "reason", s.whyNot)
}
