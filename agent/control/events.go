package control

import (
	"slices"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

// eventsKept bounds the events in memory, and eventsStored those in a status.
const (
	eventsKept   = 1000
	eventsStored = 10
)

// The types of events, beside the reasons of [ConditionShielded], which are types too.
const (
	EventRouted         = "Routed"         // The traffic of a revision changed.
	EventReady          = "Ready"          // A revision became ready.
	EventFailed         = "Failed"         // A revision did not become ready in time.
	EventRetried        = "Retried"        // A revision that failed is tried again.
	EventRetired        = "Retired"        // A revision's job was purged, and the revision is kept.
	EventPurged         = "Purged"         // A job was purged.
	EventBlocked        = "Blocked"        // Nomad can't run a revision's instances.
	EventStartFailed    = "StartFailed"    // A revision that was ready can't be started any more.
	EventRecovered      = "Recovered"      // It can be started again.
	EventScaled         = "Scaled"         // The autoscaler set a count.
	EventWoken          = "Woken"          // A request woke a revision.
	EventOverridden     = "Overridden"     // An override, or a count set by hand in Nomad, stands.
	EventOverrideEnded  = "OverrideEnded"  // The count follows the load again.
	EventPutBack        = "PutBack"        // A missing job was registered again.
	EventDriftCorrected = "DriftCorrected" // An edited job or route was put back as submitted.
	EventOOM            = "OutOfMemory"    // A task was killed for want of memory.
	EventExited         = "Exited"         // A task ended unexpectedly.
	EventRestarted      = "Restarted"      // A task was restarted.
	EventSwept          = "Swept"          // A job that has no service was stopped.
	EventLeftBehind     = "LeftBehind"     // What stays in Consul of a deleted service, and why.
	EventDeleted        = "Deleted"        // A service and all that it made are gone.
)

// Events keeps the latest events, and streams new ones to followers.
type Events struct {
	mu      sync.Mutex
	kept    []wadi.Event
	first   uint64 // Sequence number of kept[0].
	changed chan struct{}
}

// Add records that something happened to a service now.
func (e *Events) Add(service, revision, typ, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, wadi.Event{
		Time: time.Now().UTC(), Service: service, Revision: revision, Type: typ, Message: message,
	})
	if over := len(e.kept) - eventsKept; over > 0 {
		e.kept = slices.Clone(e.kept[over:])
		e.first += uint64(over)
	}
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// Since returns the events from sequence number seq on, the number to ask for
// next, and a channel that is closed when there are more.
func (e *Events) Since(seq uint64) (evs []wadi.Event, next uint64, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	next = e.first + uint64(len(e.kept))
	if seq < e.first {
		seq = e.first
	}
	if seq < next {
		evs = slices.Clone(e.kept[seq-e.first:])
	}
	return evs, next, e.changed
}

// Of returns the latest events of a service, oldest first.
func (e *Events) Of(service string, since time.Time) []wadi.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var evs []wadi.Event
	for _, ev := range slices.Backward(e.kept) {
		if ev.Time.Before(since) || len(evs) == eventsStored {
			break
		}
		if ev.Service == service {
			evs = append(evs, ev)
		}
	}
	slices.Reverse(evs)
	return evs
}

// events are the latest of the service, of earlier terms too.
func (s *service) events(log *Events) []wadi.Event {
	evs := append(slices.Clone(s.pastEvents), log.Of(s.Service.Name, s.termBegan)...)
	return evs[max(0, len(evs)-eventsStored):]
}
