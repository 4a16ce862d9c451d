package control

import (
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
)

// ConditionShielded is the type of the condition of a service whose app can be reached
// past its queue-proxy, and so by callers that the intentions refuse; or whose instances
// could not be shielded against that, though the agent is set to. Others have none.
const ConditionShielded = "Shielded"

// Reasons of the condition, and types of the events.
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
	unshielded string // Why the instances' network admits every caller, though it is set to be shielded.
}

// each calls report with each reason, always in the same order.
func (e exposure) each(report func(reason, text string)) {
	if e.unshielded != "" {
		report(reasonUnshielded, "can't be shielded: "+e.unshielded)
	}
	if e.wide != "" {
		report(reasonWide, wideText(e.wide))
	}
}

// refreshExposure notes which revisions in the mesh have an app that listens on more than
// loopback, or instances that could not be shielded though they are set to be. Each reason
// is an event once. What was known stays known at zero.
func (c *Controller) refreshExposure(s *service) {
	for _, r := range s.Revisions {
		e, known := c.exposureOf(r.ID)
		if !known {
			continue
		}
		n := s.notes(r.ID)
		n.exposure = e
		e.each(func(reason, text string) {
			if n.warned[reason] {
				return
			}
			if n.warned == nil {
				n.warned = map[string]bool{}
			}
			n.warned[reason] = true
			c.Events.Add(s.Service.Name, r.ID, reason, text)
		})
	}
}

// exposureOf is what the newest instance that was ready reports.
func (c *Controller) exposureOf(revision string) (e exposure, known bool) {
	if c.Observers.Exposure == nil {
		return e, false
	}
	wide, wideKnown := c.Observers.Exposure.Wide(revision)
	why, whyKnown := c.Observers.Exposure.Unshielded(revision)
	return exposure{wide: wide, unshielded: why}, wideKnown || whyKnown
}

func wideText(at string) string {
	return fmt.Sprintf("the app listens on %s: a caller that reaches the instance's address gets to it past the queue-proxy, "+
		"whatever the intentions say, and is not counted; let it listen on 127.0.0.1", at)
}

// shieldedCondition names the revisions whose apps can be reached, or might.
func shieldedCondition(s *service) (c wadi.Condition, shielded bool) {
	c = wadi.Condition{Type: ConditionShielded, Reason: reasonUnshielded}
	var exposed []string
	for _, r := range s.Revisions {
		var texts []string
		s.notes(r.ID).exposure.each(func(reason, text string) {
			if reason == reasonWide {
				c.Reason = reasonWide // That is worse.
			}
			texts = append(texts, text)
		})
		if len(texts) > 0 {
			exposed = append(exposed, r.ID+": "+strings.Join(texts, "; "))
		}
	}
	if more := len(exposed) - 1; more > 0 { // The texts of revisions are mostly alike.
		exposed = append(exposed[:1], fmt.Sprintf("and %d more revisions", more))
	}
	c.Message = strings.Join(exposed, "; ")
	return c, len(exposed) == 0
}
