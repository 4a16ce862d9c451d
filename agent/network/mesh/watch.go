package mesh

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
)

// watchPace is how long Watcher rests after each list of a kind: a list has all entries,
// and a thousand services that are submitted at once change five times as many.
const watchPace = 500 * time.Millisecond

// Watcher finds the services whose entries may have been edited, by Wadi itself too: it
// does not judge what they say. Set its fields before Run.
type Watcher struct {
	Source interface {
		// WatchEntries emits all entries of a kind, now and after every change.
		WatchEntries(ctx context.Context, kind string, emit func([]api.ConfigEntry), report func(error)) error
	}
	Layer *Layer // Its listing is dropped when entries change.
	Log   hclog.Logger

	once   sync.Once
	news   chan struct{}
	mu     sync.Mutex
	seen   map[string]map[string]seenEntry // By kind and name.
	edited map[string]bool                 // Services.
	all    bool                            // Any may be.
}

type seenEntry struct {
	owner string
	index uint64
}

func (w *Watcher) init() {
	w.once.Do(func() {
		w.news = make(chan struct{}, 1)
		w.seen, w.edited = map[string]map[string]seenEntry{}, map[string]bool{}
	})
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	w.init()
	g, ctx := errgroup.WithContext(ctx)
	for _, kind := range kinds() {
		g.Go(func() error {
			failing := false
			emit := func(entries []api.ConfigEntry) {
				failing = false
				w.take(kind, entries)
				rest(ctx)
			}
			return w.Source.WatchEntries(ctx, kind, emit, func(err error) {
				if !failing {
					w.Log.Warn("config entries can't be watched, edits are found within half a minute", "kind", kind, "error", err)
				}
				failing = true
			})
		})
	}
	return g.Wait()
}

func rest(ctx context.Context) {
	t := time.NewTimer(watchPace)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// take notes the entries that differ from the list before.
func (w *Watcher) take(kind string, entries []api.ConfigEntry) {
	w.mu.Lock()
	before, known := w.seen[kind]
	fresh := map[string]bool{} // Services that the differences concern.
	now := make(map[string]seenEntry, len(entries))
	for _, e := range entries {
		name := e.GetName()
		now[name] = seenEntry{owner(e), e.GetModifyIndex()}
		if was, ok := before[name]; !ok || was != now[name] {
			w.note(fresh, name, was.owner, now[name].owner)
		}
	}
	for name, was := range before {
		if _, ok := now[name]; !ok {
			w.note(fresh, name, was.owner)
		}
	}
	w.seen[kind] = now
	w.all = w.all || !known // Any entry may have changed since its service was read.
	all := w.all
	maps.Copy(w.edited, fresh)
	w.mu.Unlock()
	if !all && len(fresh) == 0 {
		return
	}
	if w.Layer != nil && all {
		w.Layer.forget()
	} else if w.Layer != nil {
		w.Layer.outdate(fresh)
	}
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// note marks the services that an entry of a name concerns. The caller holds mu.
func (w *Watcher) note(edited map[string]bool, name string, owners ...string) {
	for _, o := range append(owners, name) {
		edited[o] = true
		w.all = w.all || slices.Contains(wadi.Activators(), o)
	}
	for _, kind := range w.seen { // A tag's name belongs to a service.
		edited[kind[name].owner] = true
	}
	delete(edited, "")
}

// News signals that Take has something.
func (w *Watcher) News() <-chan struct{} {
	w.init()
	return w.news
}

// Take returns the services whose entries have changed since it was called last; all: any
// service may be among them.
func (w *Watcher) Take() (services []string, all bool) {
	w.init()
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.edited {
		services = append(services, s)
	}
	slices.Sort(services)
	all = w.all
	w.all = false
	clear(w.edited)
	return services, all
}

// forget drops the listing: the next read is a new one.
func (l *Layer) forget() {
	l.list.mu.Lock()
	defer l.list.mu.Unlock()
	l.list.at = time.Time{}
}

// outdate has the entries of some services read one by one until there is a new listing: what
// it says of the others is as good as before.
func (l *Layer) outdate(services map[string]bool) {
	l.list.mu.Lock()
	defer l.list.mu.Unlock()
	if l.list.newer == nil {
		l.list.newer = map[string][]entryKey{}
	}
	for s := range services {
		if l.list.newer[s] == nil {
			l.list.newer[s] = []entryKey{}
		}
	}
}
