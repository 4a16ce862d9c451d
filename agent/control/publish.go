package control

import (
	"cmp"
	"maps"

	"github.com/wadi-run/wadi"
)

// View is what the controller knows of all services at one moment. It is immutable: the
// same View means that nothing has changed, and so does the same Stored in two views.
type View struct{ Services map[string]*wadi.Stored }

// Services returns the latest view; nil: there is none yet.
func (c *Controller) Services() *View { return c.snapshot.Load() }

// Wakeable reports whether the network layers bring requests for the service to an
// activator when no instance of it runs.
func (c *Controller) Wakeable(service string) (ok bool, why string) {
	p := c.notWakeable.Load()
	if p == nil {
		return false, "nothing is known of its route yet"
	}
	why, notWakeable := (*p)[service]
	return !notWakeable, why
}

// publish makes a new view if anything changed, and says what is measured from now on.
func (c *Controller) publish() {
	notWakeable := map[string]string{}
	before := c.snapshot.Load()
	same := before != nil && len(before.Services) == len(c.services)
	for n, s := range c.services {
		if !s.programmed {
			notWakeable[n] = cmp.Or(s.whyNot, "its route is not programmed yet")
		}
		if s.published == nil {
			st := s.Stored
			st.State.Revisions = maps.Clone(s.State.Revisions)
			s.published, same = &st, false
		}
	}
	if !same {
		v := &View{Services: make(map[string]*wadi.Stored, len(c.services))}
		for n, s := range c.services {
			v.Services[n] = s.published
		}
		c.snapshot.Store(v)
	}
	c.notWakeable.Store(&notWakeable)
	warming := map[string]int{}
	for _, s := range c.services {
		maps.Copy(warming, s.warming)
	}
	c.warming.Store(&warming)
	c.tellMeter()
}
