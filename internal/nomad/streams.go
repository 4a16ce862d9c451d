package nomad

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// maxSingle bounds the subscriptions to single namespaces: each is a connection, and Nomad
// permits 100 per address by default.
const maxSingle = 32

// streams are all subscriptions of a watcher, and their state. It belongs to the goroutine
// of Watcher.Run.
type streams struct {
	w               *Watcher
	state           *state
	all             *subscription            // To all namespaces.
	single          map[string]*subscription // To single namespaces that all does not cover.
	updates         chan update
	running         sync.WaitGroup
	reportedTooMany bool // The shortage was logged.
}

func (s *streams) start(ctx context.Context, namespace string) *subscription {
	ctx, cancel := context.WithCancel(ctx)
	sub := &subscription{namespace: namespace, stop: cancel}
	s.running.Go(func() {
		s.w.runSubscription(ctx, namespace, func(n update) error {
			n.from = sub
			select {
			case s.updates <- n:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	return sub
}

// apply handles an update of a subscription.
func (s *streams) apply(n update) {
	if n.from != s.all && n.from != s.single[n.from.namespace] {
		return // The subscription was stopped.
	}
	switch {
	case n.err != nil:
		n.from.listed = n.covers
		s.lost(n.from, n.err)
	case n.snapshot != nil:
		s.applySnapshot(n)
	default:
		for _, c := range n.changes {
			s.state.apply(n.from.namespace, c)
		}
		s.w.publish(s.state)
	}
}

// applySnapshot applies a full read.
func (s *streams) applySnapshot(n update) {
	owns := func(namespace string) bool { return n.covers[namespace] }
	if n.from == s.all { // It also owns the namespaces without a subscription of their own.
		owns = func(namespace string) bool { return n.covers[namespace] || s.single[namespace] == nil }
	}
	if s.w.Reread != nil {
		s.reportReread(owns, n.snapshot.jobs)
	}
	s.state.replace(n.from.namespace, owns, *n.snapshot)
	s.w.publish(s.state)
	if n.from.failed {
		s.w.Log.Info("nomad's event stream is back", "namespace", n.from.namespace)
	}
	n.from.isUp, n.from.namespaces, n.from.refused, n.from.failed = true, n.covers, false, false
}

// reportReread reports at which index a full read found each job, and which known jobs it
// did not find.
func (s *streams) reportReread(owns func(namespace string) bool, jobs []Job) {
	at := map[key]uint64{}
	for k := range s.state.revisions {
		if owns(k.namespace) {
			at[k] = 0
		}
	}
	for _, j := range jobs {
		at[keyOf(j.Namespace, j.ID)] = j.JobModifyIndex
	}
	for k, index := range at {
		s.w.Reread(k.namespace, k.id, index)
	}
}

// lost notes that a stream broke, and logs it once.
func (s *streams) lost(sub *subscription, err error) {
	if sub.isUp {
		sub.isUp, sub.brokeAt = false, time.Now()
	}
	refused := errors.Is(err, errNotAll)
	switch {
	case refused && !sub.refused:
		s.w.Log.Info("the token may not read jobs in every namespace: the namespaces of services are watched one by one")
	case !refused && !sub.failed:
		s.w.Log.Warn("nomad's event stream broke", "namespace", sub.namespace, "error", err)
	}
	sub.failed, sub.refused = true, sub.refused || refused
}

// reconcile starts and stops subscriptions to single namespaces, and publishes the state
// of all streams.
func (s *streams) reconcile(ctx context.Context) {
	wanted, known := s.wanted()
	watched := s.watched(wanted)
	for namespace, sub := range s.single {
		if s.all.covers(namespace) || !watched[namespace] {
			sub.stop()
			delete(s.single, namespace)
			if !s.all.covers(namespace) {
				s.state.forget(namespace, func(ns string) bool { return ns == namespace })
				s.w.publish(s.state)
			}
		}
	}
	if s.all.isUp || s.all.refused {
		for _, namespace := range slices.Sorted(maps.Keys(watched)) {
			if s.single[namespace] == nil && !s.all.covers(namespace) {
				s.subscribe(ctx, namespace)
			}
		}
	}
	if s.publishStates(wanted, known) {
		s.w.notifyAll()
	}
}

// watched are the namespaces to watch: the wanted ones. While none of these can be read,
// nor all namespaces, it adds those that the token can see: a stream of any of them proves
// that Nomad is there.
func (s *streams) watched(wanted map[string]bool) map[string]bool {
	if s.all.isUp || !s.all.refused {
		return wanted
	}
	for namespace := range wanted {
		if sub := s.single[namespace]; sub != nil && sub.isUp {
			return wanted
		}
	}
	all := maps.Clone(wanted)
	for _, namespace := range slices.Sorted(maps.Keys(s.all.listed)) {
		if len(all) < maxSingle {
			all[namespace] = true
		}
	}
	return all
}

// subscribe subscribes to one namespace. If there are too many subscriptions, the one to
// all namespaces is reopened if the token may have it: it covers the namespaces that were
// made since, too.
func (s *streams) subscribe(ctx context.Context, namespace string) {
	switch {
	case len(s.single) < maxSingle:
		s.single[namespace] = s.start(ctx, namespace)
	case s.all.isUp:
		s.all = s.reopen(ctx, s.all)
	case !s.reportedTooMany:
		s.reportedTooMany = true
		s.w.Log.Error("services are in more namespaces than can be watched one by one: give the token read-job in all namespaces",
			"most", maxSingle, "first_without", namespace)
	}
}

// wanted are the namespaces of services and of recent requests. known is false while the
// services are not known.
func (s *streams) wanted() (all map[string]bool, known bool) {
	named, known := s.w.Namespaces()
	all = map[string]bool{}
	for _, namespace := range named {
		all[orDefault(namespace)] = true
	}
	now := time.Now()
	s.w.requested.Range(func(namespace, at any) bool {
		if now.Sub(at.(time.Time)) > watchedFor {
			s.w.requested.Delete(namespace)
		} else {
			all[namespace.(string)] = true
		}
		return true
	})
	return all, known
}

// publishStates publishes the state of the streams, and reports whether it changed.
func (s *streams) publishStates(wanted map[string]bool, known bool) (changed bool) {
	now := &streamStates{all: s.all.streamState, single: map[string]streamState{}}
	for namespace, sub := range s.single {
		now.single[namespace] = sub.streamState
	}
	settled := known && now.anyUp()
	for _, namespace := range slices.Sorted(maps.Keys(wanted)) {
		sub := s.single[namespace]
		if !now.up(namespace) && (s.all.isUp || s.all.refused) {
			now.unwatched = append(now.unwatched, namespace)
		}
		settled = settled && (now.up(namespace) || sub != nil && sub.failed || sub == nil && len(s.single) >= maxSingle)
	}
	before := s.w.states.Swap(now)
	select {
	case <-s.w.synced:
	default:
		if settled {
			close(s.w.synced)
		}
	}
	return before.all.isUp != now.all.isUp || !maps.EqualFunc(before.single, now.single, func(a, b streamState) bool { return a.isUp == b.isUp })
}
