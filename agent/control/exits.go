package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// ConditionSteady is the type of the condition of a service of which tasks ended lately
// that nobody told to, though a revision was ready. Others have none. ReasonOOM is why
// where one was killed for want of memory.
const (
	ConditionSteady = "Steady"
	ReasonOOM       = "OutOfMemory"
	reasonExits     = "Exits"
)

// The types of the events about tasks that end.
const (
	EventOOM       = "OutOfMemory"
	EventExited    = "Exited"
	EventRestarted = "Restarted"
)

const (
	// exitsKept bounds what is remembered of how the tasks of one revision end.
	exitsKept = 8
	// exitNameMost is how many characters name a task.
	exitNameMost = 100
	// exitsFor is for how long it is.
	exitsFor = time.Hour
	// unsteadyFor is after how long without another the tasks are taken for steady.
	unsteadyFor = 10 * time.Minute
	// exitsShown is how soon a counter is shown that has merely gone up: a status is
	// not stored with every exit.
	exitsShown = 10 * time.Second
)

// exitFact is one way in which a task of a revision ends.
type exitFact struct {
	wadi.ExitStatus
	noted    time.Time // The last one, by our clock.
	instance string    // Of the last one.
}

// exitLog is how the tasks of a revision ended of late. Nil is one without any, as of a
// revision that was never looked at.
type exitLog struct {
	seen    map[wadi.Exit]bool // Of which Nomad still tells; nil: nobody has looked.
	facts   []exitFact         // In the order of the last ones.
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
	if s.exits == nil {
		s.exits = map[string]*exitLog{}
	}
	for _, r := range s.Revisions {
		log, exits := s.exits[r.ID], c.Observers.Exits.Exits(s.Service.Namespace, r.ID)
		if log == nil {
			log = earlierExits(s.Status, r.ID, now)
			s.exits[r.ID] = log
		}
		if log.seen != nil && len(exits)+len(log.seen)+len(log.facts)+len(log.shown) == 0 {
			continue // Of most revisions there never is anything.
		}
		for _, f := range log.take(exits, r.Spec.ServingTask, now) {
			c.Events.Add(s.Service.Name, r.ID, eventOf(f.Kind), exitText(f))
		}
	}
	if len(s.exits) > len(s.Revisions) {
		maps.DeleteFunc(s.exits, func(id string, _ *exitLog) bool {
			return !slices.ContainsFunc(s.Revisions, func(r wadi.Revision) bool { return r.ID == id })
		})
	}
}

// earlierExits is what a leader before has noted.
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
			log.facts = append(log.facts, exitFact{ExitStatus: e, noted: noted})
		}
		log.shown, log.shownAt = r.Exits, now
	}
	return log
}

// take counts the exits that were not seen before. It returns the facts to tell: each
// when it is new, and when its number has doubled.
func (l *exitLog) take(exits []wadi.Exit, app string, now time.Time) []exitFact {
	first := l.seen == nil
	seen := make(map[wadi.Exit]bool, len(exits))
	changed := map[string]bool{} // By what, of facts that have to be told.
	for _, e := range exits {
		seen[e] = true
		if l.seen[e] || first && l.old(e, app, now) {
			continue
		}
		if f := l.count(e, app, now); f.Times&(f.Times-1) == 0 {
			changed[f.What] = true
		}
	}
	l.seen = seen
	l.facts = slices.DeleteFunc(l.facts, func(f exitFact) bool { return now.Sub(f.noted) > exitsFor })
	if more := len(l.facts) - exitsKept; more > 0 {
		l.facts = slices.Delete(l.facts, 0, more)
	}
	var tell []exitFact
	for _, f := range l.facts {
		if changed[f.What] {
			tell = append(tell, f)
		}
	}
	l.show(len(tell) > 0, now)
	return tell
}

// old reports whether an exit of which Nomad still tells when a leader begins is known
// from the one before, or no news any more.
func (l *exitLog) old(e wadi.Exit, app string, now time.Time) bool {
	at, what := time.Unix(0, e.At), exitWhat(e, app)
	for _, f := range l.facts {
		if f.What == what {
			return !at.After(f.Last)
		}
	}
	return now.Sub(at) > unsteadyFor
}

// count adds an exit to its fact, which becomes the last.
func (l *exitLog) count(e wadi.Exit, app string, now time.Time) exitFact {
	what := exitWhat(e, app)
	f := exitFact{ExitStatus: wadi.ExitStatus{Task: e.Task, Kind: kindOf(e), What: what}}
	if i := slices.IndexFunc(l.facts, func(f exitFact) bool { return f.What == what }); i >= 0 {
		f = l.facts[i]
		l.facts = slices.Delete(l.facts, i, i+1)
	}
	f.Times++
	f.noted, f.instance = now, e.Instance
	if at := time.Unix(0, e.At).UTC(); at.After(f.Last) {
		f.Last = at
	}
	l.facts = append(l.facts, f)
	return f
}

// show brings what the status says up to date, if it is time.
func (l *exitLog) show(news bool, now time.Time) {
	if !news && len(l.facts) == len(l.shown) && now.Sub(l.shownAt) < exitsShown {
		return
	}
	l.shownAt, l.shown = now, nil
	for _, f := range l.facts {
		l.shown = append(l.shown, f.ExitStatus)
	}
}

// told is what the status says.
func (l *exitLog) told() []wadi.ExitStatus {
	if l == nil {
		return nil
	}
	return l.shown
}

// unsteady is the latest fact because of which tasks are not steady, one of memory before
// others; nil: there is none.
func (l *exitLog) unsteady(now time.Time) (worst *wadi.ExitStatus) {
	if l == nil {
		return nil
	}
	for i := range l.shown {
		e := &l.shown[i]
		lately := slices.ContainsFunc(l.facts, func(f exitFact) bool { return f.What == e.What && now.Sub(f.noted) <= unsteadyFor })
		if lately && e.Kind != wadi.ExitRestart && (worst == nil || e.Kind == wadi.ExitOOM || worst.Kind != wadi.ExitOOM) {
			worst = e
		}
	}
	return worst
}

// steadyCondition says of each revision that was ready how tasks of it ended lately.
func steadyCondition(s *service, now time.Time) (c wadi.Condition, steady bool) {
	c = wadi.Condition{Type: ConditionSteady, Reason: reasonExits}
	var told []string
	for _, r := range s.Revisions {
		e := s.exits[r.ID].unsteady(now)
		if e == nil || s.state(r.ID).Phase != wadi.Ready {
			continue
		}
		if e.Kind == wadi.ExitOOM {
			c.Reason = ReasonOOM
		}
		told = append(told, fmt.Sprintf("%s: %s%s, last at %s", r.ID, e.What, times(e.Times), e.Last.Format(time.TimeOnly+" MST")))
	}
	c.Message = strings.Join(told, "; ")
	return c, len(told) == 0
}

func kindOf(e wadi.Exit) string {
	switch {
	case e.OOM:
		return wadi.ExitOOM
	case e.Restart != "":
		return wadi.ExitRestart
	}
	return wadi.ExitItself
}

func eventOf(kind string) string {
	switch kind {
	case wadi.ExitOOM:
		return EventOOM
	case wadi.ExitRestart:
		return EventRestarted
	}
	return EventExited
}

// exitWhat says in words what happened to which task, whose name is anybody's.
func exitWhat(e wadi.Exit, app string) string {
	who := wadi.OneLine(taskWord(e.Task, app), exitNameMost)
	switch {
	case e.OOM:
		return who + " was killed for want of memory"
	case e.Restart != "":
		return who + " was restarted: " + e.Restart
	case e.Signal == 9 || e.Code == 137:
		return who + " was killed by signal 9: for want of memory, or by somebody"
	case e.Signal != 0:
		return fmt.Sprintf("%s ended by signal %d", who, e.Signal)
	}
	return fmt.Sprintf("%s exited with code %d", who, e.Code)
}

// taskWord says what a task of a revision's instances is.
func taskWord(task, app string) string {
	switch {
	case task == app:
		return fmt.Sprintf("the app (task %s)", task)
	case task == wadi.TaskQueueProxy:
		return "Wadi's queue-proxy"
	case strings.HasPrefix(task, wadi.PortEnvoy("")):
		return fmt.Sprintf("the Envoy (task %s)", task)
	}
	return "task " + task
}

func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(", %d times", n)
}

// exitText is what an event says.
func exitText(f exitFact) string {
	return fmt.Sprintf("%s%s; last in instance %.8s", f.What, times(f.Times), f.instance)
}
