package nomad

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/wadi-run/wadi"
)

// everywhere is the subscription to all namespaces. Nomad gives it only to tokens that may
// read each of them, and an open one does not cover namespaces that are made later.
const everywhere = "*"

// subscription is one event stream, which is reopened when it breaks. Except for its
// constants it belongs to the goroutine of Watcher.Run.
type subscription struct {
	namespace string
	stop      func()

	streamState
	refused bool            // The token may not read all namespaces.
	listed  map[string]bool // Namespaces that the token could list when it was last refused.
	failed  bool            // Since the stream was last up.
}

// update is a message from a subscription's goroutine.
type update struct {
	from     *subscription
	covers   map[string]bool // The namespaces that it covers.
	snapshot *snapshot       // The full read at the beginning,
	changes  []change        // or the changes since,
	err      error           // or why the stream broke.
}

var (
	// errNotAll says that the token may read some namespaces, but not all.
	errNotAll = errors.New("the token may not read jobs in every namespace")
	errSilent = errors.New("event stream fell silent")
)

// A missing right may be granted later, and the question costs Nomad little.
const (
	pauseMax        = 5 * time.Second
	pauseMaxRefused = 15 * time.Second
)

// runSubscription keeps a stream open until ctx ends.
func (w *Watcher) runSubscription(ctx context.Context, namespace string, emit func(update) error) {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 100*time.Millisecond, pauseMaxRefused
	for {
		covers, err := w.runStream(ctx, namespace, func(n update) error {
			if n.snapshot != nil {
				b.Reset()
			}
			return emit(n)
		})
		if ctx.Err() != nil || emit(update{covers: covers, err: err}) != nil {
			return
		}
		pause := b.NextBackOff()
		if !errors.Is(err, wadi.ErrForbidden) {
			pause = min(pause, pauseMax)
		}
		if wadi.Sleep(ctx, pause) != nil {
			return
		}
	}
}

// runStream reads everything and then follows one stream until it breaks. It returns the
// namespaces that the stream covered, and why it broke.
func (w *Watcher) runStream(ctx context.Context, namespace string, emit func(update) error) (covers map[string]bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if covers, err = w.Client.covers(ctx, namespace); err != nil {
		return nil, err
	}
	silent := time.AfterFunc(w.Silence, func() { cancel(errSilent) })
	defer silent.Stop()
	began := false
	err = w.Client.stream(ctx, namespace, w.FirstLine, func(es []event) error {
		w.lastLine.Store(time.Now().UnixNano())
		if !began {
			// The stream is opened before the read and waits meanwhile, so no change is
			// lost.
			silent.Stop()
			f, err := w.Client.readSnapshot(ctx, namespace, covers)
			if err == nil {
				err = emit(update{snapshot: &f, covers: covers})
			}
			began = true
			silent.Reset(w.Silence)
			return err
		}
		silent.Reset(w.Silence)
		changes, err := decode(es, covers)
		if err != nil || len(changes) == 0 {
			return err
		}
		return emit(update{changes: changes})
	})
	switch {
	case errors.Is(context.Cause(ctx), errSilent):
		err = errSilent
	case namespace == everywhere && errors.Is(err, wadi.ErrForbidden) && w.Client.mayList(ctx) == nil:
		err = fmt.Errorf("%w: %w", errNotAll, err)
	}
	return covers, err
}

// decode reads the changes in the covered namespaces.
func decode(es []event, covers map[string]bool) ([]change, error) {
	var out []change
	for _, e := range es {
		c, err := e.decode()
		if err != nil {
			return nil, err
		}
		if covers[orDefault(c.namespace())] {
			out = append(out, c)
		}
	}
	return out, nil
}
