package doctor

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/wadi-run/wadi"
)

// Rights are findings about the rights that the agent's own tokens lack. The agent need not
// have started. Nothing is found where Consul or Nomad does not answer: what waits for them
// says so.
func (d *Doctor) Rights(ctx context.Context) []wadi.Finding {
	checks := []func(context.Context) []wadi.Finding{
		func(ctx context.Context) []wadi.Finding {
			if err := d.Store.Check(ctx); errors.Is(err, wadi.ErrForbidden) {
				return []wadi.Finding{d.lacksKeys(err)}
			}
			return nil
		},
		func(ctx context.Context) []wadi.Finding {
			found, _ := d.consulRights(ctx)
			return found
		},
		d.checkNomadRights,
	}
	found := make([][]wadi.Finding, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { found[i] = check(ctx) })
	}
	wg.Wait()
	return slices.Concat(found...)
}
