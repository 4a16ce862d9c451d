package mesh

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// listingAge is how old a list of all entries may be to read one service's from it, and
// listingShare how many times as old as it took to read: with thousands of services that are
// set up at once, little time goes into lists. Services that have changed since are not read
// from it.
const (
	listingAge   = time.Second
	listingMost  = 10 * time.Second
	listingShare = 10
)

// listing is all entries of the kinds that services have, as they were a moment ago. With
// it a thousand services that are read back together need five calls. It also knows under
// which other names a service has entries: those of tags that it no longer has.
type listing struct {
	mu      sync.Mutex
	at      time.Time
	took    time.Duration // To read.
	entries map[entryKey]api.ConfigEntry
	owned   map[string][]entryKey // By service: what was written for it.
	newer   map[string][]entryKey // By service: what this layer has written or deleted since.
}

type entryKey struct{ kind, name string }

// wrote notes an entry that this layer has written or deleted for a service.
func (l *listing) wrote(service string, k entryKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newer == nil {
		l.newer = map[string][]entryKey{}
	}
	if !slices.Contains(l.newer[service], k) {
		l.newer[service] = append(l.newer[service], k)
	}
}

// present returns what read does, but perhaps as it was a moment ago, unless this
// layer has written for the service since.
func (l *Layer) present(ctx context.Context, service string, want []api.ConfigEntry) ([]api.ConfigEntry, error) {
	keys, listed, err := l.lookup(ctx, service, want)
	if listed == nil {
		return l.each(ctx, keys, err)
	}
	return listed, err
}

// read returns what there is under a service's name and its tags', and everything
// that was ever written for it, as it is now.
func (l *Layer) read(ctx context.Context, service string, want []api.ConfigEntry) ([]api.ConfigEntry, error) {
	keys, _, err := l.lookup(ctx, service, want)
	return l.each(ctx, keys, err)
}

// lookup returns the keys of the entries that concern a service, and the entries as
// listed; nil if this layer has written for the service since.
func (l *Layer) lookup(ctx context.Context, service string, want []api.ConfigEntry) (keys []entryKey, listed []api.ConfigEntry, err error) {
	l.list.mu.Lock()
	defer l.list.mu.Unlock()
	if time.Since(l.list.at) >= max(listingAge, min(listingMost, listingShare*l.list.took)) {
		if err := l.listAll(ctx); err != nil {
			return nil, nil, err
		}
	}
	newer, outdated := l.list.newer[service]
	keys = concerning(service, want, slices.Concat(l.list.owned[service], newer))
	if outdated {
		return keys, nil, nil
	}
	listed = []api.ConfigEntry{}
	for _, k := range keys {
		if e, ok := l.list.entries[k]; ok {
			listed = append(listed, e)
		}
	}
	return keys, listed, nil
}

// each reads entries one by one, and leaves out those that do not exist.
func (l *Layer) each(ctx context.Context, keys []entryKey, err error) ([]api.ConfigEntry, error) {
	if err != nil {
		return nil, err
	}
	var have []api.ConfigEntry
	for _, k := range keys {
		e, err := l.Entries.Entry(ctx, k.kind, k.name)
		switch {
		case errors.Is(err, wadi.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			have = append(have, e)
		}
	}
	return have, nil
}

// concerning are the keys of the entries that may belong to a service: those wanted, all
// that route a name which it is to route, those under its own name, and others.
func concerning(service string, want []api.ConfigEntry, others []entryKey) []entryKey {
	keys := slices.Clone(others)
	for _, kind := range kinds() {
		keys = append(keys, entryKey{kind, service})
	}
	for _, w := range want {
		keys = append(keys, entryKey{w.GetKind(), w.GetName()})
		if w.GetKind() == api.ServiceRouter {
			for _, kind := range routing() {
				keys = append(keys, entryKey{kind, w.GetName()})
			}
		}
	}
	slices.SortFunc(keys, func(a, b entryKey) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.kind, b.kind))
	})
	return slices.Compact(keys)
}

// listAll makes a new listing. The caller holds its mutex.
func (l *Layer) listAll(ctx context.Context) error {
	at, all, owned := time.Now(), map[entryKey]api.ConfigEntry{}, map[string][]entryKey{}
	for _, kind := range kinds() {
		entries, err := l.Entries.Entries(ctx, kind)
		if err != nil {
			return err
		}
		for _, e := range entries {
			k := entryKey{kind, e.GetName()}
			all[k] = e
			if o := owner(e); o != "" {
				owned[o] = append(owned[o], k)
			}
		}
	}
	l.list.at, l.list.took, l.list.entries, l.list.owned, l.list.newer = at, time.Since(at), all, owned, nil
	return nil
}
