package nomad

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// maxSingle bounds the subscriptions to one namespace each: every one is a connection,
// and Nomad permits 100 of an address unless told otherwise.
const maxSingle = 32

// streams are all subscriptions of a watcher, and what they have told. It belongs to
// the goroutine of Watcher.Run.
type streams struct {
	w               *Watcher
	state           *state
	all             *subscription            // To all namespaces.
	single          map[string]*subscription // To one each: those that all does not tell of.
	updates         chan update
	running         sync.WaitGroup
	reportedTooMany bool // That was told.
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

// apply takes in what a subscription has told.
func (s *streams) apply(n update) {
	if n.from != s.all && n.from != s.single[n.from.namespace] {
		return // It was stopped.
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

// applySnapshot takes in a full read.
func (s *streams) applySnapshot(n update) {
	owns := func(namespace string) bool { return n.covers[namespace] }
	if n.from == s.all { // What nobody follows is nobody's news.
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

// reportReread tells at which index a full read found each job that there is, or was.
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

// lost notes that a subscription has ended for now. That is said once.
func (s *streams) lost(sub *subscription, err error) {
	if sub.isUp {
		sub.isUp, sub.brokeAt = false, time.Now()
	}
	refused := errors.Is(err, errNotAll)
	switch {
	case refused && !sub.refused:
		s.w.Log.Info("the token may not read jobs in every namespace: each that services are in is watched by itself")
	case !refused && !sub.failed:
		s.w.Log.Warn("nomad's event stream is away", "namespace", sub.namespace, "error", err)
	}
	sub.failed, sub.refused = true, sub.refused || refused
}

// reconcile starts and stops subscriptions to single namespaces, and shows which are up.
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
		s.w.notifyChanged()
	}
}

// watched are the namespaces that are wanted, and while nothing of those can be had, and
// not all either, those that the token can see: one of them proves that Nomad talks.
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

// subscribe subscribes to one namespace. When there are too many of them, the subscription
// to all is opened anew, if it may be: it tells of those that were made since, too.
func (s *streams) subscribe(ctx context.Context, namespace string) {
	switch {
	case len(s.single) < maxSingle:
		s.single[namespace] = s.start(ctx, namespace)
	case s.all.isUp:
		s.all = s.reopen(ctx, s.all)
	case !s.reportedTooMany:
		s.reportedTooMany = true
		s.w.Log.Error("services are in more namespaces than can be watched one by one: give the token read-job in all",
			"most", maxSingle, "first_without", namespace)
	}
}

// wanted are the namespaces that are to be watched. known is false while those that
// services are in are not known.
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

// publishStates lets readers know which streams are up, and reports whether that is new.
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
