package simulation

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// Entries are Consul's config entries.
type Entries struct {
	gate  *Gate
	index uint64
	all   map[string]api.ConfigEntry
}

// NewEntries returns none.
func NewEntries(g *Gate) *Entries { return &Entries{gate: g, all: map[string]api.ConfigEntry{}} }

// All are all entries, sorted.
func (e *Entries) All() (out []api.ConfigEntry) {
	for _, entry := range e.all {
		out = append(out, entry)
	}
	slices.SortFunc(out, func(a, b api.ConfigEntry) int {
		return cmp.Or(cmp.Compare(a.GetKind(), b.GetKind()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out
}

// Index is the index of the last change.
func (e *Entries) Index() uint64 { return e.index }

// DeleteByHand deletes the n-th entry.
func (e *Entries) DeleteByHand(n int) {
	if all := e.All(); len(all) > 0 {
		at := all[n%len(all)]
		delete(e.all, at.GetKind()+" "+at.GetName())
		e.index++
	}
}

// EntryClient is what one actor sees of them.
type EntryClient struct {
	e     *Entries
	actor string
	do    func(ctx context.Context, actor, what string, do func(Verdict) error) error
}

// Client is what one actor sees of them.
func (e *Entries) Client(actor string) *EntryClient { return &EntryClient{e, actor, e.gate.Do} }

// Direct is a client whose calls are executed at once.
func (e *Entries) Direct() *EntryClient {
	return &EntryClient{e, "", func(_ context.Context, _, _ string, do func(Verdict) error) error { return do(Verdict{}) }}
}

// Entry reads an entry.
func (k *EntryClient) Entry(ctx context.Context, kind, name string) (out api.ConfigEntry, err error) {
	err = k.do(ctx, k.actor, "entry "+kind+" "+name, func(Verdict) error {
		if out = k.e.all[kind+" "+name]; out == nil {
			return fmt.Errorf("read %s %s: %w", kind, name, wadi.ErrNotFound)
		}
		return nil
	})
	return out, err
}

// Entries lists the entries of a kind.
func (k *EntryClient) Entries(ctx context.Context, kind string) (out []api.ConfigEntry, err error) {
	err = k.do(ctx, k.actor, "entries "+kind, func(Verdict) error {
		out = slices.DeleteFunc(k.e.All(), func(e api.ConfigEntry) bool { return e.GetKind() != kind })
		return nil
	})
	return out, err
}

// SetEntry writes an entry that is still at index.
func (k *EntryClient) SetEntry(ctx context.Context, entry api.ConfigEntry, index uint64) error {
	at := entry.GetKind() + " " + entry.GetName()
	return k.do(ctx, k.actor, "set entry "+at, func(Verdict) error {
		if !k.e.at(at, index) {
			return fmt.Errorf("set %s: %w", at, wadi.ErrConflict)
		}
		k.e.index++
		k.e.all[at] = stamped(entry, k.e.index)
		return nil
	})
}

// DeleteEntry deletes an entry that is still at index.
func (k *EntryClient) DeleteEntry(ctx context.Context, kind, name string, index uint64) error {
	at := kind + " " + name
	return k.do(ctx, k.actor, "delete entry "+at, func(Verdict) error {
		if !k.e.at(at, index) {
			return fmt.Errorf("delete %s: %w", at, wadi.ErrConflict)
		}
		delete(k.e.all, at)
		k.e.index++
		return nil
	})
}

func (e *Entries) at(key string, index uint64) bool {
	have := e.all[key]
	return have == nil && index == 0 || have != nil && have.GetModifyIndex() == index
}

// stamped is a copy of an entry with its index.
func stamped(e api.ConfigEntry, index uint64) api.ConfigEntry {
	switch e := e.(type) {
	case *api.ServiceConfigEntry:
		c := *e
		c.ModifyIndex = index
		return &c
	case *api.ServiceResolverConfigEntry:
		c := *e
		c.ModifyIndex = index
		return &c
	case *api.ServiceSplitterConfigEntry:
		c := *e
		c.ModifyIndex = index
		return &c
	case *api.ServiceRouterConfigEntry:
		c := *e
		c.ModifyIndex = index
		return &c
	case *api.ServiceIntentionsConfigEntry:
		c := *e
		c.ModifyIndex = index
		return &c
	}
	panic(fmt.Sprintf("no entry of Wadi's: %T", e))
}
