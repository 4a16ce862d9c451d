package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
)

// ServiceReader reads what is stored of services.
type ServiceReader interface {
	// Watch calls changed with the names of services that were submitted or deleted, all
	// of them at first, until ctx ends.
	Watch(ctx context.Context, changed func(services []string)) error
	// LoadSome reads services, and calls loaded for each; with wadi.ErrNotFound when it is
	// gone, with wadi.ErrUnreadable and what can be read.
	LoadSome(ctx context.Context, services []string, loaded func(service string, st wadi.Stored, err error))
}

// loadsAtOnce times loadsTogether bounds the services that are read from the store at a time.
const (
	loadsAtOnce   = 4
	loadsTogether = 16 // In one call.
)

// loadFailure is why a service could not be read, and when it is read again.
type loadFailure struct {
	again time.Time // Not before then.
	pause time.Duration
	why   string
}

// nextPause is the pause after another failure of a service, by the last pause.
func nextPause(last time.Duration) time.Duration {
	return min(max(2*last, 500*time.Millisecond), 15*time.Second)
}

// loadAll reads services anew, and reports whether it could read any. What can't be read
// is read again after longer and longer pauses: a key that can't be decoded stays so until
// it is written.
func (c *Controller) loadAll(ctx context.Context, names map[string]bool) (some bool) {
	var mu sync.Mutex // Guards what the caller's goroutine owns, while others read for it.
	var g errgroup.Group
	g.SetLimit(loadsAtOnce)
	now := time.Now()
	due := make([]string, 0, len(names))
	for name := range names {
		if now.Before(c.loadFailures[name].again) {
			c.inbox.later(name)
			continue
		}
		due = append(due, name)
	}
	slices.Sort(due)
	for together := range slices.Chunk(due, loadsTogether) {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, actionTimeout)
			defer cancel()
			c.Store.LoadSome(ctx, together, func(name string, st wadi.Stored, err error) {
				if errors.Is(err, wadi.ErrUnreadable) {
					err = errors.Join(err, c.reportUnreadable(ctx, name, st.Status, err))
				}
				mu.Lock()
				defer mu.Unlock()
				some = c.loaded(ctx, name, st, err) || some
			})
			return nil
		})
	}
	_ = g.Wait() // Errors are handled by loaded.
	return some
}

// loaded takes over what was read, or has it read again later.
func (c *Controller) loaded(ctx context.Context, name string, st wadi.Stored, err error) bool {
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		late := c.loadFailures[name]
		if late.why != err.Error() { // Reported once.
			c.report(ctx, name, fmt.Errorf("load %s: %w", name, err))
		}
		late.why = err.Error()
		late.pause = nextPause(late.pause)
		late.again = time.Now().Add(late.pause)
		c.loadFailures[name] = late
		c.inbox.later(name)
		return false
	}
	delete(c.loadFailures, name)
	if err != nil {
		delete(c.services, name)
	} else {
		c.takeLoaded(name, st)
	}
	return true
}

// takeLoaded takes over what was read of a service.
func (c *Controller) takeLoaded(name string, st wadi.Stored) {
	if st.State.Revisions == nil {
		st.State.Revisions = map[string]wadi.RevisionState{}
	}
	s := c.services[name]
	if s == nil {
		s = &service{termBegan: time.Now(), pastEvents: st.Status.Events}
		c.services[name] = s
	}
	if s.Generation != st.Generation || s.Deleting != st.Deleting {
		s.retry, s.backoff = time.Time{}, 0
	}
	s.Stored, s.published, s.checked, s.resting = st, nil, false, false
}
