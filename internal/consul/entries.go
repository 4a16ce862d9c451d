package consul

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// Entry reads a config entry; [wadi.ErrNotFound] if there is none. For some kinds Consul
// answers so, too, if the token may not read the entry.
func (c *Client) Entry(ctx context.Context, kind, name string) (api.ConfigEntry, error) {
	e, _, err := c.api().ConfigEntries().Get(kind, name, present(ctx))
	return e, Wrap(fmt.Sprintf("read %s %s", kind, name), err)
}

// Entries lists the config entries of a kind that the token may read.
func (c *Client) Entries(ctx context.Context, kind string) ([]api.ConfigEntry, error) {
	es, _, err := c.listEntries(kind, present(ctx))
	return es, Wrap("list "+kind, err)
}

// decodedEntries are the entries of a kind as they were decoded last, by the sum of their JSON.
// Entries rarely change and lists have all of them, and to decode one takes ten times as long
// as to find that it is the same.
type decodedEntries struct {
	mu  sync.Mutex
	was map[[sha256.Size]byte]api.ConfigEntry
}

// listEntries lists the config entries of a kind. Callers must not change them.
func (c *Client) listEntries(kind string, q *api.QueryOptions) ([]api.ConfigEntry, *api.QueryMeta, error) {
	var raw []json.RawMessage
	meta, err := c.api().Raw().Query("/v1/config/"+kind, &raw, q)
	if err != nil {
		return nil, nil, err
	}
	kept, _ := c.decoded.LoadOrStore(kind, &decodedEntries{})
	out, err := kept.(*decodedEntries).decode(raw)
	return out, meta, err
}

func (d *decodedEntries) decode(raw []json.RawMessage) ([]api.ConfigEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, out := make(map[[sha256.Size]byte]api.ConfigEntry, len(raw)), make([]api.ConfigEntry, len(raw))
	for i, r := range raw {
		sum := sha256.Sum256(r)
		e, known := d.was[sum]
		if !known {
			var err error
			if e, err = api.DecodeConfigEntryFromJSON(r); err != nil {
				return nil, err
			}
		}
		now[sum], out[i] = e, e
	}
	d.was = now
	return out, nil
}

// WatchEntries emits the config entries of a kind, now and after every change, until ctx
// ends. report gets every failure.
func (c *Client) WatchEntries(ctx context.Context, kind string, emit func([]api.ConfigEntry), report func(error)) error {
	w := Watch[[]api.ConfigEntry]{Report: report}
	w.Fetch = func(ctx context.Context, index uint64) ([]api.ConfigEntry, uint64, error) {
		q, cancel := blocking(ctx, index, watchWait)
		defer cancel()
		es, meta, err := c.listEntries(kind, q)
		if err != nil {
			return nil, 0, Wrap("watch "+kind, err)
		}
		return es, meta.LastIndex, nil
	}
	return w.Run(ctx, emit)
}

// SetEntry writes a config entry if index is still its ModifyIndex (0: if there is none).
// Otherwise it returns [wadi.ErrConflict], unless the present entry is the same. Consul
// refuses, in its own words, an entry that does not fit other entries, for instance in its
// protocol.
func (c *Client) SetEntry(ctx context.Context, e api.ConfigEntry, index uint64) error {
	what := fmt.Sprintf("write %s %s", e.GetKind(), e.GetName())
	ok, _, err := c.api().ConfigEntries().CAS(e, index, (&api.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return Wrap(what, err)
	}
	if !ok {
		return fmt.Errorf("%s at index %d: %w", what, index, wadi.ErrConflict)
	}
	return nil
}

// DeleteEntry deletes a config entry if index is still its ModifyIndex; otherwise it
// returns [wadi.ErrConflict]. It is no error if there is no such entry.
func (c *Client) DeleteEntry(ctx context.Context, kind, name string, index uint64) error {
	what := fmt.Sprintf("delete %s %s", kind, name)
	ok, _, err := c.api().ConfigEntries().DeleteCAS(kind, name, index, (&api.WriteOptions{}).WithContext(ctx))
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
