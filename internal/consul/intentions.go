package consul

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// Intentions are the intentions that the token may read, and the default without an
// intention. Consul silently leaves out intentions that the token may not read: see
// HiddenIntentions.
type Intentions struct {
	Entries      []*api.ServiceIntentionsConfigEntry
	DefaultAllow bool
}

// WatchIntentions emits all intentions, now and after every change, until ctx ends. report
// gets every failure. The default is read again whenever the watch starts over, as it does
// when Consul's agent restarts. If the token may not read the default, it counts as deny,
// and report gets that once.
func (c *Client) WatchIntentions(ctx context.Context, emit func(Intentions), report func(error)) error {
	var defaultAllow, reported bool
	w := Watch[Intentions]{Report: report}
	w.Fetch = func(ctx context.Context, index uint64) (Intentions, uint64, error) {
		if index == 0 {
			var err error
			retryRefused(ctx, func() (refused bool) {
				defaultAllow, err = c.intentionsDefault(ctx)
				return errors.Is(err, wadi.ErrForbidden)
			})
			switch {
			case errors.Is(err, wadi.ErrForbidden):
				if !reported {
					report(fmt.Errorf("%w: it needs agent read; without an intention every call is denied", err))
				}
				defaultAllow, reported = false, true
			case err != nil:
				return Intentions{}, 0, err
			}
		}
		q, cancel := blocking(ctx, index, watchWait)
		defer cancel()
		es, meta, err := c.api().ConfigEntries().List(api.ServiceIntentions, q)
		if err != nil {
			return Intentions{}, 0, Wrap("watch intentions", err)
		}
		out := Intentions{DefaultAllow: defaultAllow}
		for _, e := range es {
			if i, ok := e.(*api.ServiceIntentionsConfigEntry); ok {
				out.Entries = append(out.Entries, i)
			}
		}
		return out, meta.LastIndex, nil
	}
	return w.Run(ctx, emit)
}

// intentionsDefault reads the default intention policy that Consul's agent gives its
// Envoys: its own, or else that of its ACLs.
func (c *Client) intentionsDefault(ctx context.Context) (allow bool, err error) {
	var out struct {
		DebugConfig struct {
			DefaultIntentionPolicy string
			ACLResolverSettings    struct{ ACLDefaultPolicy string }
		}
	}
	if _, err := c.api().Raw().Query("/v1/agent/self", &out, (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return false, Wrap("read consul's default intention policy", err)
	}
	policy := out.DebugConfig.DefaultIntentionPolicy
	if policy == "" {
		policy = out.DebugConfig.ACLResolverSettings.ACLDefaultPolicy
	}
	return policy == "allow", nil
}

// hiddenAtOnce bounds the services of one question.
const hiddenAtOnce = 100

// HiddenIntentions returns the services whose intentions the token may not read. Of these,
// and only of these, it is unknown whether there are intentions.
func (c *Client) HiddenIntentions(ctx context.Context, services []string) (map[string]bool, error) {
	var hidden map[string]bool
	var err error
	retryRefused(ctx, func() (refused bool) {
		hidden, err = c.hiddenOnce(ctx, services)
		services = slices.Sorted(maps.Keys(hidden)) // The other services need no second question.
		return len(hidden) > 0
	})
	return hidden, err
}

func (c *Client) hiddenOnce(ctx context.Context, services []string) (map[string]bool, error) {
	hidden := map[string]bool{}
	for len(services) > 0 {
		some := services[:min(len(services), hiddenAtOnce)]
		services = services[len(some):]
		// Consul refuses the whole question if it refuses one service.
		_, _, err := c.api().Connect().IntentionMatch(&api.IntentionMatch{By: api.IntentionMatchDestination, Names: some},
			(&api.QueryOptions{}).WithContext(ctx))
		if err == nil {
			continue
		}
		for _, name := range some {
			_, err := c.Entry(ctx, api.ServiceIntentions, name)
			switch {
			case errors.Is(err, wadi.ErrForbidden):
				hidden[name] = true
			case err != nil && !isNotFound(err):
				return nil, err
			}
		}
	}
	return hidden, nil
}
