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
// UnlistedIntentions.
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

// unlistedAtOnce bounds the services of one question.
const unlistedAtOnce = 100

// Unlisted is what Consul says of services that are in no list of intentions.
type Unlisted struct {
	// Hidden are the services whose intentions the token may not read. Of these, and only
	// of these, it is unknown whether there are intentions.
	Hidden map[string]bool
	// Present are the destinations that have intentions after all, "*" among them: a list
	// without them is older, or was made with fewer rights.
	Present map[string]bool
}

// UnlistedIntentions looks for the intentions of services that a list of intentions lacks.
func (c *Client) UnlistedIntentions(ctx context.Context, services []string) (Unlisted, error) {
	out := Unlisted{Present: map[string]bool{}}
	var err error
	retryRefused(ctx, func() (refused bool) {
		out.Hidden, err = c.unlistedOnce(ctx, services, out.Present)
		services = slices.Sorted(maps.Keys(out.Hidden)) // The other services need no second question.
		return len(out.Hidden) > 0
	})
	return out, err
}

// unlistedOnce returns the hidden services, and adds to present.
func (c *Client) unlistedOnce(ctx context.Context, services []string, present map[string]bool) (hidden map[string]bool, err error) {
	hidden = map[string]bool{}
	for some := range slices.Chunk(services, unlistedAtOnce) {
		// Consul refuses the whole question if it refuses one service.
		found, _, err := c.api().Connect().IntentionMatch(&api.IntentionMatch{By: api.IntentionMatchDestination, Names: some},
			(&api.QueryOptions{}).WithContext(ctx))
		if err == nil {
			for _, intentions := range found {
				for _, i := range intentions {
					present[i.DestinationName] = true
				}
			}
			continue
		}
		for _, name := range some {
			_, err := c.Entry(ctx, api.ServiceIntentions, name)
			switch {
			case err == nil:
				present[name] = true
			case errors.Is(err, wadi.ErrForbidden):
				hidden[name] = true
			case !isNotFound(err):
				return nil, err
			}
		}
	}
	return hidden, nil
}
