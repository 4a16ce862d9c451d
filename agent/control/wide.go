package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// ConditionShielded is the type of the condition of a service whose app can be reached
// past its queue-proxy, and so by those whom the intentions keep out, or whose instances
// could not be shielded against it as the agent is set to. Others have none.
const ConditionShielded = "Shielded"

// What is told of, as reasons of the condition and types of events.
const (
	reasonWide       = "ListensWide"
	reasonUnshielded = "NotShielded"
)

// ExposureReports is what the newest ready instance of a revision says of the ways past
// its queue-proxy. known is false while none has reported.
type ExposureReports interface {
	// Wide is where the app can be reached past the queue-proxy; empty: nowhere.
	Wide(revision string) (at string, known bool)
	// Unshielded is why the instances' network admits every caller, though it is set to
	// be shielded; empty: there is no such reason.
	Unshielded(revision string) (why string, known bool)
}

// exposure is how callers may get past the queue-proxies of a revision.
type exposure struct {
	wide       string // Where the app can be reached so; empty: nowhere.
	unshielded string // Why the instances' network lets in everybody, though it shall not.
}

// each is what is to be told, in an order that does not change.
func (e exposure) each(tell func(reason, text string)) {
	if e.unshielded != "" {
		tell(reasonUnshielded, "can't be shielded: "+e.unshielded)
	}
	if e.wide != "" {
		tell(reasonWide, wideText(e.wide))
	}
}

// warning names what was told of a revision.
type warning struct{ revision, reason string }

// refreshExposure notes of which revisions in the mesh the app listens on more than loopback,
// or the instances are not shielded though they shall be, and tells so once of each. What
// was known stays so at zero.
func (c *Controller) refreshExposure(s *service) {
	listed := map[string]bool{}
	for _, r := range s.Revisions {
		listed[r.ID] = true
		if e, known := c.exposureOf(r.ID); known {
			s.expose(r.ID, e)
			e.each(func(reason, text string) {
				if s.warn(warning{r.ID, reason}) {
					c.Events.Add(s.Service.Name, r.ID, reason, text)
				}
			})
		}
	}
	maps.DeleteFunc(s.exposed, func(id string, _ exposure) bool { return !listed[id] })
	maps.DeleteFunc(s.warned, func(w warning, _ bool) bool { return !listed[w.revision] })
}

// exposureOf is what the newest instance that was ready says.
func (c *Controller) exposureOf(revision string) (e exposure, known bool) {
	if c.Observers.Exposure == nil {
		return e, false
	}
	wide, wideKnown := c.Observers.Exposure.Wide(revision)
	why, whyKnown := c.Observers.Exposure.Unshielded(revision)
	return exposure{wide: wide, unshielded: why}, wideKnown || whyKnown
}

func (s *service) expose(revision string, e exposure) {
	if e == (exposure{}) {
		delete(s.exposed, revision)
		return
	}
	if s.exposed == nil {
		s.exposed = map[string]exposure{}
	}
	s.exposed[revision] = e
}

// warn reports whether this is the first time.
func (s *service) warn(w warning) bool {
	if s.warned == nil {
		s.warned = map[warning]bool{}
	}
	was := s.warned[w]
	s.warned[w] = true
	return !was
}

func wideText(at string) string {
	return fmt.Sprintf("the app listens on %s: whoever reaches the instance's address gets to it past the queue-proxy, "+
		"whatever the intentions say, and is not counted; let it listen on 127.0.0.1", at)
}

// shieldedCondition says whose apps can be reached, or might.
func shieldedCondition(s *service) wadi.Condition {
	c := wadi.Condition{Type: ConditionShielded, Reason: reasonUnshielded}
	var told []string
	for _, id := range slices.Sorted(maps.Keys(s.exposed)) {
		var texts []string
		s.exposed[id].each(func(reason, text string) {
			if reason == reasonWide {
				c.Reason = reasonWide // That is worse.
			}
			texts = append(texts, text)
		})
		told = append(told, id+": "+strings.Join(texts, "; "))
	}
	if more := len(told) - 1; more > 0 { // They are alike, mostly.
		told = append(told[:1], fmt.Sprintf("and %d more revisions", more))
	}
	c.Message = strings.Join(told, "; ")
	return c
}
