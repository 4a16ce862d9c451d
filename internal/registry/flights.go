package registry

import (
	"context"
	"sync"
)

// question is what is asked, and as whom.
type question struct {
	image string
	own   Credentials
}

// flight is one question to a registry, and all that wait for its answer.
type flight struct {
	done   chan struct{}
	cancel context.CancelFunc
	begun  bool // Guarded by flights.mu, as is waits.
	waits  int

	digest string // Set before done is closed.
	err    error
}

// flightKey is the question with the settings by which it is asked.
type flightKey struct {
	question
	settings *loaded
}

// lane has the flights of one question: one that is under way, and one that begins after it.
// An answer that is under way may be older than a tag's last move, so that those who ask
// meanwhile share the next one.
type lane struct{ now, next *flight }

// flights let equal questions share an answer that is given after all of them were asked.
type flights struct {
	mu    sync.Mutex
	lanes map[flightKey]*lane
}

// do returns the answer of ask, which may be called once for several callers. Its ctx ends
// when none of them waits any more.
func (f *flights) do(ctx context.Context, k flightKey, ask func(context.Context) (string, error)) (string, error) {
	fl := f.join(ctx, k, ask)
	select {
	case <-fl.done:
		return fl.digest, fl.err
	case <-ctx.Done():
		f.leave(fl)
		return "", context.Cause(ctx)
	}
}

func (f *flights) join(ctx context.Context, k flightKey, ask func(context.Context) (string, error)) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lanes == nil {
		f.lanes = map[flightKey]*lane{}
	}
	l := f.lanes[k]
	if l == nil {
		l = &lane{}
		f.lanes[k] = l
	}
	if l.next != nil {
		l.next.waits++
		return l.next
	}
	fl := &flight{done: make(chan struct{}), waits: 1}
	var flown context.Context
	flown, fl.cancel = context.WithCancel(context.WithoutCancel(ctx))
	before := l.now
	if before == nil {
		l.now = fl
	} else {
		l.next = fl
	}
	go f.run(flown, k, fl, before, ask) // It ends with its callers, or in time: ask has a deadline.
	return fl
}

// run asks when the flight before has ended.
func (f *flights) run(ctx context.Context, k flightKey, fl, before *flight, ask func(context.Context) (string, error)) {
	defer fl.cancel()
	if before != nil {
		<-before.done
	}
	f.mu.Lock()
	if f.lanes[k].now = fl; before != nil {
		f.lanes[k].next = nil
	}
	if fl.begun = true; fl.waits == 0 {
		fl.cancel()
	}
	f.mu.Unlock()
	fl.digest, fl.err = ask(ctx)
	f.mu.Lock()
	if l := f.lanes[k]; l.next == nil {
		delete(f.lanes, k)
	}
	f.mu.Unlock()
	close(fl.done)
}

func (f *flights) leave(fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waits--; fl.waits == 0 && fl.begun { // Others may join one that has not begun.
		fl.cancel()
	}
}
