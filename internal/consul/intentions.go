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

// Intentions are the intentions that may be read, and what holds without one.
// Consul leaves out silently what may not be read: see HiddenIntentions.
type Intentions struct {
	Entries      []*api.ServiceIntentionsConfigEntry
	DefaultAllow bool
}

// WatchIntentions emits all intentions, now and after every change, until ctx
// ends. report is told what failed. The default is read again whenever the watch
// has to begin anew, as it does when Consul's agent restarts; where it may not be
// read it counts as deny, and report is told so once.
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
		es, meta, err := c.api.ConfigEntries().List(api.ServiceIntentions, q)
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

// intentionsDefault reads what Consul's agent gives its Envoys as the default
// intention policy: its own, else that of its ACLs.
func (c *Client) intentionsDefault(ctx context.Context) (allow bool, err error) {
	var out struct {
		DebugConfig struct {
			DefaultIntentionPolicy string
			ACLResolverSettings    struct{ ACLDefaultPolicy string }
		}
	}
	if _, err := c.api.Raw().Query("/v1/agent/self", &out, (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return false, Wrap("read consul's default intention policy", err)
	}
	policy := out.DebugConfig.DefaultIntentionPolicy
	if policy == "" {
		policy = out.DebugConfig.ACLResolverSettings.ACLDefaultPolicy
	}
	return policy == "allow", nil
}

// hiddenAtOnce is for how many services one call asks.
const hiddenAtOnce = 100

// HiddenIntentions returns those services whose intentions may not be read: of
// them, and only of them, no intention does not mean that there is none.
func (c *Client) HiddenIntentions(ctx context.Context, services []string) (map[string]bool, error) {
	var hidden map[string]bool
	var err error
	retryRefused(ctx, func() (refused bool) {
		hidden, err = c.hiddenOnce(ctx, services)
		services = slices.Sorted(maps.Keys(hidden)) // The others need no second question.
		return len(hidden) > 0
	})
	return hidden, err
}

func (c *Client) hiddenOnce(ctx context.Context, services []string) (map[string]bool, error) {
	hidden := map[string]bool{}
	for len(services) > 0 {
		some := services[:min(len(services), hiddenAtOnce)]
		services = services[len(some):]
		// It is refused as a whole where one of them is.
		_, _, err := c.api.Connect().IntentionMatch(&api.IntentionMatch{By: api.IntentionMatchDestination, Names: some},
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
