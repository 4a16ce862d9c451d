package server

import (
	"context"
	"slices"
	"sync"

	"github.com/wadi-run/wadi"
)

// EventLog keeps the latest events in memory and hands new ones to whoever
// listens. The zero value is ready to use.
type EventLog struct {
	mu     sync.Mutex
	recent []wadi.Event // Oldest first.
	subs   map[chan wadi.Event]struct{}
}

var _ Events = (*EventLog)(nil)

const (
	keptEvents   = 512
	eventsBuffer = 256 // A reader that is further behind is cut off.
)

// Publish adds an event. It never waits for a reader.
func (l *EventLog) Publish(e wadi.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.recent) >= keptEvents {
		l.recent = slices.Delete(l.recent, 0, len(l.recent)-keptEvents+1)
	}
	l.recent = append(l.recent, e)
	for ch := range l.subs {
		select {
		case ch <- e:
		default:
			delete(l.subs, ch)
			close(ch)
		}
	}
}

// Subscribe implements Events.
func (l *EventLog) Subscribe(ctx context.Context) ([]wadi.Event, <-chan wadi.Event) {
	ch := make(chan wadi.Event, eventsBuffer)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs == nil {
		l.subs = map[chan wadi.Event]struct{}{}
	}
	l.subs[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.subs[ch]; ok {
			delete(l.subs, ch)
			close(ch)
		}
	})
	return slices.Clone(l.recent), ch
}
