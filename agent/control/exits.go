package control

import (
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	// exitsKept bounds the kinds of exits that are remembered of one revision.
	exitsKept = 8
	// exitNameMost is how many characters name a task.
	exitNameMost = 100
	// exitsFor is for how long they are.
	exitsFor = time.Hour
	// unsteadyFor is after how long without another exit the tasks count as steady.
	unsteadyFor = 10 * time.Minute
	// exitsShown is how often a counter that merely went up is shown: not every exit
	// changes the stored status.
	exitsShown = 10 * time.Second
)

// exitKind is one way in which a task of a revision ends.
type exitKind struct {
	wadi.ExitStatus
	noted    time.Time // The last exit, by this agent's clock.
	instance string    // Of the last exit.
}

// exitLog is how the tasks of a revision ended of late. A nil log has no exits.
type exitLog struct {
	seen    map[wadi.Exit]bool // That Nomad still lists; nil: they were not read yet.
	kinds   []exitKind         // Ordered by their last exits.
	shown   []wadi.ExitStatus
	shownAt time.Time
}

// ExitReader knows how tasks ended.
type ExitReader interface {
	// Exits are the unexpected ends of the revision's tasks that Nomad still lists.
	Exits(namespace, revision string) []wadi.Exit
}

// refreshExits notes how tasks ended, and makes events of what is new.
func (c *Controller) refreshExits(s *service, now time.Time) {
	if c.Observers.Exits == nil {
		return
	}
	for _, r := range s.Revisions {
		n, exits := s.notes(r.ID), c.Observers.Exits.Exits(s.Service.Namespace, r.ID)
		if n.exits == nil {
			n.exits = earlierExits(s.Status, r.ID, now)
		}
		log := n.exits
		if log.seen != nil && len(exits)+len(log.seen)+len(log.kinds)+len(log.shown) == 0 {
			continue // Most revisions never have any.
		}
		for _, f := range log.record(exits, r.Spec.ServingTask, now) {
			c.Events.Add(s.Service.Name, r.ID, eventOf(f.Kind), exitText(f))
		}
	}
}

// earlierExits is what an earlier leader has stored.
func earlierExits(st wadi.Status, revision string, now time.Time) *exitLog {
	log := &exitLog{}
	for _, r := range st.Revisions {
		if r.ID != revision {
			continue
		}
		for _, e := range r.Exits {
			noted := e.Last
			if noted.After(now) {
				noted = now
			}
			log.kinds = append(log.kinds, exitKind{ExitStatus: e, noted: noted})
		}
		log.shown, log.shownAt = r.Exits, now
	}
	return log
}

// record counts the exits that were not seen before. It returns the kinds to report: each
// when it is new, and when its number has doubled.
func (l *exitLog) record(exits []wadi.Exit, app string, now time.Time) []exitKind {
	first := l.seen == nil
	seen := make(map[wadi.Exit]bool, len(exits))
	changed := map[string]bool{} // By what happened: the kinds that become events.
	for _, e := range exits {
		seen[e] = true
		if l.seen[e] || first && l.alreadyReported(e, app, now) {
			continue
		}
		if f := l.count(e, app, now); f.Times&(f.Times-1) == 0 {
			changed[f.What] = true
		}
	}
	l.seen = seen
	l.kinds = slices.DeleteFunc(l.kinds, func(f exitKind) bool { return now.Sub(f.noted) > exitsFor })
	if more := len(l.kinds) - exitsKept; more > 0 {
		l.kinds = slices.Delete(l.kinds, 0, more)
	}
	var report []exitKind
	for _, f := range l.kinds {
		if changed[f.What] {
			report = append(report, f)
		}
	}
	l.show(len(report) > 0, now)
	return report
}

// alreadyReported reports, of an exit that Nomad lists when a term begins, whether the
// leader before has reported it, or it is too old to be news.
func (l *exitLog) alreadyReported(e wadi.Exit, app string, now time.Time) bool {
	at, what := time.Unix(0, e.At), exitWhat(e, app)
	for _, f := range l.kinds {
		if f.What == what {
			return !at.After(f.Last)
		}
	}
	return now.Sub(at) > unsteadyFor
}

// count adds an exit to its kind, which becomes the last.
func (l *exitLog) count(e wadi.Exit, app string, now time.Time) exitKind {
	what := exitWhat(e, app)
	f := exitKind{ExitStatus: wadi.ExitStatus{Task: e.Task, Kind: kindOf(e), What: what}}
	if i := slices.IndexFunc(l.kinds, func(f exitKind) bool { return f.What == what }); i >= 0 {
		f = l.kinds[i]
		l.kinds = slices.Delete(l.kinds, i, i+1)
	}
	f.Times++
	f.noted, f.instance = now, e.Instance
	if at := time.Unix(0, e.At).UTC(); at.After(f.Last) {
		f.Last = at
	}
	l.kinds = append(l.kinds, f)
	return f
}

// show updates what the status shows, if it is time.
func (l *exitLog) show(news bool, now time.Time) {
	if !news && len(l.kinds) == len(l.shown) && now.Sub(l.shownAt) < exitsShown {
		return
	}
	l.shownAt, l.shown = now, nil
	for _, f := range l.kinds {
		l.shown = append(l.shown, f.ExitStatus)
	}
}

// exitStatus is what the status shows.
func (l *exitLog) exitStatus() []wadi.ExitStatus {
	if l == nil {
		return nil
	}
	return l.shown
}

// unsteady is the latest kind of exit for which tasks are not steady, one for want of
// memory before others; nil: there is none.
func (l *exitLog) unsteady(now time.Time) (worst *wadi.ExitStatus) {
	if l == nil {
		return nil
	}
	for i := range l.shown {
		e := &l.shown[i]
		lately := slices.ContainsFunc(l.kinds, func(f exitKind) bool { return f.What == e.What && now.Sub(f.noted) <= unsteadyFor })
		if lately && e.Kind != wadi.ExitRestart && (worst == nil || e.Kind == wadi.ExitOOM || worst.Kind != wadi.ExitOOM) {
			worst = e
		}
	}
	return worst
}
