package consul

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Bounds of the pause after a failed blocking query.
const (
	watchPauseMin = 100 * time.Millisecond
	watchPauseMax = 5 * time.Second
)

// Watch is a blocking query that is asked again and again.
type Watch[T any] struct {
	// Fetch asks for what is newer than index; 0 asks for the present state.
	// It returns the index of its answer.
	Fetch func(ctx context.Context, index uint64) (T, uint64, error)
	// Report is told of every failed fetch. Nil is nobody.
	Report func(err error)
}

// Run calls emit with the present state and with every later one, from this
// goroutine, until ctx ends. It returns nil then. A state may be emitted twice,
// for instance after Consul was away.
func (w Watch[T]) Run(ctx context.Context, emit func(T)) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = watchPauseMin, watchPauseMax
	var index uint64
	for ctx.Err() == nil {
		v, next, err := w.Fetch(ctx, index)
		next = max(next, 1) // Index 0 would not block.
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if w.Report != nil {
				w.Report(err)
			}
			sleep(ctx, pause.NextBackOff())
			index = 0 // Ask for the present state, not for the next change.
		case next < index:
			index = 0 // The server was restored; start over.
		case next != index:
			pause.Reset()
			index = next
			emit(v)
		}
	}
	return nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
