package scrape

import (
	"cmp"
	"time"
)

// selfReport is what an instance reports about itself, as text for people.
type selfReport struct {
	unready  string    // Why it is not ready.
	since    time.Time // When it first reported a reason.
	reported bool      // The reason has lasted for unreadyAfter, and readers see it.
	wide     string    // Where its app can be reached past the queue-proxy.
	known    bool      // The instance was ready once: wide and unshielded are known.

	unshielded string // Why its network is open to other callers although it should not be.
}

// unreadyAfter is how long an instance must have been unready before its reason is shown:
// most instances have one for a moment when they start.
const unreadyAfter = 3 * time.Second

// unansweredAfter is how long an instance must have run without any answer before that is
// shown as the reason.
const unansweredAfter = 10 * time.Second

const noAnswer = "its queue-proxy does not answer"

// noteUnready sets why an instance is not ready.
func (s *Scraper) noteUnready(f *follower, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setUnready(f, why)
}

// setUnready is noteUnready for callers that hold mu.
func (s *Scraper) setUnready(f *follower, why string) {
	if f.ready || f.removed {
		return
	}
	now := s.now()
	if f.report.since.IsZero() {
		f.report.since = now
	}
	f.report.unready = why
	if !f.report.reported && why != "" && now.Sub(f.report.since) >= unreadyAfter {
		f.report.reported = true
		s.notify(f)
	}
}

// noteSelfReport takes the self-report in an answer. The caller holds mu.
func (s *Scraper) noteSelfReport(f *follower, a answer) {
	if a.ready != "true" {
		s.setUnready(f, a.unready)
	}
	if a.ready == "true" && (!f.report.known || f.report.wide != a.wide || f.report.unshielded != a.unshielded) {
		f.report.known, f.report.wide, f.report.unshielded = true, a.wide, a.unshielded
		s.notify(f)
	}
}

// unanswered notes that a running instance does not answer at all. The caller holds mu.
func (s *Scraper) unanswered(f *follower) {
	if !f.src.Starting && s.now().Sub(f.src.Placed) >= unansweredAfter {
		s.setUnready(f, noAnswer)
	}
}

// Unready is why the newest of a revision's unready instances is not ready; empty if none
// has been unready for a while.
func (s *Scraper) Unready(revision string) string {
	return s.newest(revision, func(f *follower) bool { return !f.ready && f.report.reported }).unready
}

// Draining is what the newest stopping instance of a revision still waits for; empty if
// none waits.
func (s *Scraper) Draining(revision string) string {
	return s.newestOf(revision, true, func(f *follower) bool { return !f.ready && f.report.unready != "" }).unready
}

// Wide is the address at which the app can be reached past the queue-proxy, by the newest
// instance that was ready; empty if there is none. known is false if no instance was ready
// yet.
func (s *Scraper) Wide(revision string) (at string, known bool) {
	f := s.newest(revision, func(f *follower) bool { return f.report.known })
	return f.wide, f.known
}

// Unshielded is why the network of the revision's newest instance that was ready is open
// to other callers although it should not be; empty if it is closed. known is false if no
// instance was ready yet.
func (s *Scraper) Unshielded(revision string) (why string, known bool) {
	f := s.newest(revision, func(f *follower) bool { return f.report.known })
	return f.unshielded, f.known
}

// newest is the self-report of the newest instance of a revision that fulfils is, without
// those that stop.
func (s *Scraper) newest(revision string, is func(*follower) bool) selfReport {
	return s.newestOf(revision, false, is)
}

func (s *Scraper) newestOf(revision string, stopping bool, is func(*follower) bool) selfReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[revision]
	if g == nil || revision == "" {
		return selfReport{}
	}
	var found *follower
	for _, f := range g.all {
		if f.src.Stopping != stopping || !is(f) {
			continue
		}
		if found == nil || cmp.Or(f.src.Placed.Compare(found.src.Placed), cmp.Compare(f.src.ID, found.src.ID)) > 0 {
			found = f
		}
	}
	if found == nil {
		return selfReport{}
	}
	return found.report
}
