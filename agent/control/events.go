package control

import (
	"cmp"
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
	EventRollout        = "Rollout"        // A rollout began, went on, was held, or ended.
	EventImage          = "Image"          // A new revision runs an image without a digest, or with an earlier one.
	EventPrefetching    = "Prefetching"    // A new revision's images are fetched to the nodes.
	EventPrefetched     = "Prefetched"     // They are there, or are not waited for any more.
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
	EventRemoved        = "Removed"        // A revision was deleted, as a caller wanted.
	EventDeleted        = "Deleted"        // A service and all that it made are gone.
)

// Events keeps the latest events, and streams new ones to followers. The zero value is empty.
type Events struct {
	mu        sync.Mutex
	kept      []wadi.Event
	last      uint64                      // Index of the last event.
	loading   bool                        // Those of earlier terms are being read; kept has no indexes yet.
	namespace func(service string) string // As in Begin.
	changed   chan struct{}
}

// Add records that something happened to a service now.
func (e *Events) Add(service, revision, typ, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ev := wadi.Event{
		Time: time.Now().UTC(), Service: service, Revision: revision, Type: typ,
		Message: truncate(message), Namespace: e.namespaceOf(service),
	}
	if !e.loading {
		e.last++
		ev.Index = e.last
	}
	e.kept = latest(append(e.kept, ev))
	e.notify()
}

// namespaceOf is the namespace of a service; if that is unknown now, that of its last event. The
// caller holds mu.
func (e *Events) namespaceOf(service string) string {
	if e.namespace != nil {
		if ns := e.namespace(service); ns != "" {
			return ns
		}
	}
	for _, ev := range slices.Backward(e.kept) {
		if ev.Service == service && ev.Namespace != "" {
			return ev.Namespace
		}
	}
	return ""
}

// latest are the events that are kept of all.
func latest(all []wadi.Event) []wadi.Event {
	if over := len(all) - eventsKept; over > 0 {
		return slices.Clone(all[over:])
	}
	return all
}

// notify tells waiting readers of a change. The caller holds mu.
func (e *Events) notify() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// Begin begins a term: what another leader has stored is to come by Load. Until then there are
// no events for readers. namespace returns the namespace of a service, by which callers are
// judged later, when the service may be gone or another; empty: it is unknown.
func (e *Events) Begin(namespace func(service string) string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept, e.loading, e.namespace = nil, true, namespace
}

// Load takes in the events of earlier terms, oldest first.
func (e *Events) Load(stored []wadi.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.loading {
		return
	}
	e.loading = false
	if n := len(stored); n > 0 {
		// The leader before may have had events that it could not store: their indexes stay free.
		e.last = max(e.last, stored[n-1].Index+eventsKept)
	}
	for i := range e.kept {
		e.last++
		e.kept[i].Index = e.last
	}
	e.kept = latest(slices.Concat(stored, e.kept))
	e.notify()
}

// Loading reports whether the events of earlier terms are still being read.
func (e *Events) Loading() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.loading
}

// Since returns the kept events from an index on, the index to ask for next, and a channel
// that is closed when there are more. An index that was never reached, such as one from
// before Consul was restored, is one before all events.
func (e *Events) Since(index uint64) (evs []wadi.Event, next uint64, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	if e.loading {
		return nil, index, e.changed
	}
	if index > e.last+1 {
		index = 0
	}
	first, _ := slices.BinarySearchFunc(e.kept, index, func(ev wadi.Event, i uint64) int { return cmp.Compare(ev.Index, i) })
	return slices.Clone(e.kept[first:]), e.last + 1, e.changed
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
