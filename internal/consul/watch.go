package consul

import (
	"context"
	"reflect"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wadi-run/wadi"
)

// Bounds of the pause after a failed blocking query.
const (
	watchPauseMin = 100 * time.Millisecond
	watchPauseMax = 5 * time.Second
)

// Watch is a repeated blocking query.
type Watch[T any] struct {
	// Fetch waits for a state newer than index, or reads the present state for index 0. It
	// returns the index of its answer.
	Fetch func(ctx context.Context, index uint64) (T, uint64, error)
	// Report gets the error of every failed fetch. Nil ignores them.
	Report func(err error)
	// Rest is for how long to rest after a state was emitted; nil: not at all. Whatever changes
	// meanwhile is in the next state. Where each state is a list of everything, thousands of
	// changes in a row would otherwise cost the square of their number.
	Rest func(T) time.Duration
}

// Run calls emit with the present state and with every later one, from this goroutine,
// until ctx ends, and returns nil then. A state may be emitted twice, for instance after
// Consul was unavailable.
//
// Consul judges a blocking query by the rights that its token had at the beginning, and
// signals no change of rights. So after each query that ended without a change the present
// state is read, with the rights of then.
func (w Watch[T]) Run(ctx context.Context, emit func(T)) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = watchPauseMin, watchPauseMax
	var index, emitted uint64 // Of the query that comes, 0 to read the present state; of the last emitted state.
	var last T
	for ctx.Err() == nil {
		v, next, err := w.Fetch(ctx, index)
		next = max(next, 1) // Index 0 would not block.
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if w.Report != nil {
				w.Report(err)
			}
			_ = wadi.Sleep(ctx, pause.NextBackOff())
			index, emitted = 0, 0 // Ask for the present state, not for the next change.
		case next < index:
			// The server was restored; start over. Or it is behind, and is so again and again:
			// not without a pause.
			_ = wadi.Sleep(ctx, watchPauseMin)
			index = 0
		case next == index:
			index = 0 // Nothing has changed but, perhaps, rights.
		default:
			pause.Reset()
			index = next
			if next != emitted || !reflect.DeepEqual(v, last) {
				last, emitted = v, next
				emit(v)
				if w.Rest != nil {
					_ = wadi.Sleep(ctx, w.Rest(v))
				}
			}
		}
	}
	return nil
}
