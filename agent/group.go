package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// group runs parts of the agent side by side. The first that fails ends them all.
type group struct {
	ctx    context.Context // Ends with the group.
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	failed chan struct{} // Closed when a part has failed.
	once   sync.Once
}

func newGroup(ctx context.Context) *group {
	g := &group{failed: make(chan struct{})}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// run runs a part until the group ends. Its name is for the error.
func (g *group) run(name string, part func(context.Context) error) {
	g.wg.Go(func() {
		if err := part(g.ctx); err != nil {
			g.cancel(fmt.Errorf("%s: %w", name, err))
			g.once.Do(func() { close(g.failed) })
		}
	})
}

// stop ends the group's parts and waits for them.
func (g *group) stop() {
	g.cancel(context.Canceled)
	g.wg.Wait()
}

// firstError returns the error of the first group that has a failed part.
func firstError(groups ...*group) error {
	for _, g := range groups {
		if err := context.Cause(g.ctx); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}
