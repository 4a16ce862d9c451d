package control

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

const (
	eventsEvery   = time.Second     // Between two writes of events.
	eventsRetry   = 2 * time.Second // After one that failed.
	eventsTimeout = 10 * time.Second
	lastEvents    = 2 * time.Second // Of the write at the end of a term.
)

// EventLog is the stored history of events.
type EventLog interface {
	// Load returns the stored events, oldest first.
	Load(ctx context.Context) ([]wadi.Event, error)
	// Append stores events, those that are stored already excepted.
	Append(ctx context.Context, events []wadi.Event) error
}

// EventKeeper stores the leader's events, so that they survive it. Only the leader runs one,
// for one term. Events of the last second of a leader that is killed are lost.
type EventKeeper struct {
	Events *Events
	Stored EventLog
	Log    hclog.Logger

	failed bool // The last request failed, and that was logged.
}

// Run loads the stored events, and stores new ones until ctx ends.
func (k *EventKeeper) Run(ctx context.Context) error {
	var stored []wadi.Event
	for {
		var err error
		if stored, err = k.load(ctx); err == nil {
			break
		}
		if wadi.Sleep(ctx, eventsRetry) != nil {
			return nil
		}
	}
	k.Events.Load(stored)
	next := uint64(1)
	if n := len(stored); n > 0 {
		next = stored[n-1].Index + 1
	}
	for {
		_, _, changed := k.Events.Since(next)
		done, err := k.save(ctx, next)
		if next = done; err == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
		pause := eventsEvery
		if err != nil {
			pause = eventsRetry
		}
		if wadi.Sleep(ctx, pause) != nil {
			return k.saveLast(ctx, next)
		}
	}
}

// saveLast stores the events of the end of the term, while the lock is still held.
func (k *EventKeeper) saveLast(ctx context.Context, from uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastEvents)
	defer cancel()
	_, _ = k.save(ctx, from) // The term has ended: nothing can be done.
	return nil
}

func (k *EventKeeper) load(ctx context.Context) ([]wadi.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, eventsTimeout)
	defer cancel()
	stored, err := k.Stored.Load(ctx)
	k.report(ctx, "events of earlier terms can't be read yet", err)
	return stored, err
}

// save stores the events from an index on, and returns the index to go on from.
func (k *EventKeeper) save(ctx context.Context, from uint64) (next uint64, err error) {
	events, next, _ := k.Events.Since(from)
	if len(events) == 0 {
		return from, nil
	}
	ctx, cancel := context.WithTimeout(ctx, eventsTimeout)
	defer cancel()
	err = k.Stored.Append(ctx, events)
	k.report(ctx, "events can't be stored, trying again", err)
	if err != nil {
		return from, err
	}
	return next, nil
}

// report logs the first of several failures.
func (k *EventKeeper) report(ctx context.Context, what string, err error) {
	if err != nil && !k.failed && ctx.Err() == nil {
		k.Log.Warn(what, "error", err)
	}
	k.failed = err != nil
}
