package consul

import (
	"context"
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// Entry reads a config entry; [wadi.ErrNotFound] if there is none. Some kinds
// are answered so too when they may not be read.
func (c *Client) Entry(ctx context.Context, kind, name string) (api.ConfigEntry, error) {
	e, _, err := c.api.ConfigEntries().Get(kind, name, present(ctx))
	return e, Wrap(fmt.Sprintf("read %s %s", kind, name), err)
}

// Entries lists the config entries of a kind that may be read.
func (c *Client) Entries(ctx context.Context, kind string) ([]api.ConfigEntry, error) {
	es, _, err := c.api.ConfigEntries().List(kind, present(ctx))
	return es, Wrap("list "+kind, err)
}

// WatchEntries emits the config entries of a kind, now and after every change,
// until ctx ends. report is told what failed.
func (c *Client) WatchEntries(ctx context.Context, kind string, emit func([]api.ConfigEntry), report func(error)) error {
	w := Watch[[]api.ConfigEntry]{Report: report}
	w.Fetch = func(ctx context.Context, index uint64) ([]api.ConfigEntry, uint64, error) {
		q, cancel := blocking(ctx, index, watchWait)
		defer cancel()
		es, meta, err := c.api.ConfigEntries().List(kind, q)
		if err != nil {
			return nil, 0, Wrap("watch "+kind, err)
		}
		return es, meta.LastIndex, nil
	}
	return w.Run(ctx, emit)
}

// SetEntry writes a config entry if index is still its ModifyIndex; 0: if there
// is none. Else it is [wadi.ErrConflict], unless what is there says the same
// already. An entry that does not fit the others,
// for instance in its protocol, is refused with Consul's own words.
func (c *Client) SetEntry(ctx context.Context, e api.ConfigEntry, index uint64) error {
	what := fmt.Sprintf("write %s %s", e.GetKind(), e.GetName())
	ok, _, err := c.api.ConfigEntries().CAS(e, index, (&api.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return Wrap(what, err)
	}
	if !ok {
		return fmt.Errorf("%s at index %d: %w", what, index, wadi.ErrConflict)
	}
	return nil
}

// DeleteEntry deletes a config entry if index is still its ModifyIndex, else it
// is [wadi.ErrConflict]. No such entry is no error.
func (c *Client) DeleteEntry(ctx context.Context, kind, name string, index uint64) error {
	what := fmt.Sprintf("delete %s %s", kind, name)
	ok, _, err := c.api.ConfigEntries().DeleteCAS(kind, name, index, (&api.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return Wrap(what, err)
	}
	if ok {
		return nil
	}
	if _, err := c.Entry(ctx, kind, name); isNotFound(err) {
		return nil
	}
	return fmt.Errorf("%s at index %d: %w", what, index, wadi.ErrConflict)
}
