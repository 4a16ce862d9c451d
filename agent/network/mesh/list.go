package mesh

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi"
)

// listingAge is how old a list of all entries may be to read one service's from it.
const listingAge = time.Second

// listing is all entries of the kinds that services have, as they were a moment
// ago. A thousand services that are read back together need four calls with it.
type listing struct {
	mu      sync.Mutex
	at      time.Time
	entries map[entryKey]api.ConfigEntry
	newer   map[string]bool // Services whose entries were written since.
}

type entryKey struct{ kind, name string }

// changed notes that a service's entries are about to be written.
func (l *listing) changed(service string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newer == nil {
		l.newer = map[string]bool{}
	}
	l.newer[service] = true
}

// present returns what read does, but perhaps as it was a moment ago, unless this
// layer has written it since.
func (l *Layer) present(ctx context.Context, service string, activator bool) ([]api.ConfigEntry, error) {
	l.list.mu.Lock()
	defer l.list.mu.Unlock()
	if l.list.newer[service] && time.Since(l.list.at) < listingAge {
		return l.read(ctx, service, activator)
	}
	if time.Since(l.list.at) >= listingAge {
		if err := l.readAll(ctx); err != nil {
			return nil, err
		}
	}
	var have []api.ConfigEntry
	add := func(kind, name string) {
		if e, ok := l.list.entries[entryKey{kind, name}]; ok {
			have = append(have, e)
		}
	}
	if activator {
		add(api.ServiceDefaults, wadi.ServiceActivator)
	}
	for _, kind := range kinds() {
		add(kind, service)
	}
	return have, nil
}

// readAll makes a new listing. The caller holds its mutex.
func (l *Layer) readAll(ctx context.Context) error {
	at, all := time.Now(), map[entryKey]api.ConfigEntry{}
	for _, kind := range kinds() {
		entries, err := l.Entries.Entries(ctx, kind)
		if err != nil {
			return err
		}
		for _, e := range entries {
			all[entryKey{kind, e.GetName()}] = e
		}
	}
	l.list.at, l.list.entries, l.list.newer = at, all, nil
	return nil
}
