package scrape

import (
	"cmp"
	"time"
)

// selfReport is what an instance says of itself, for people.
type selfReport struct {
	unready  string    // Why it is not ready.
	since    time.Time // When it first said so.
	reported bool      // That was long ago: the readers know.
	wide     string    // Where its app can be reached past the queue-proxy.
	known    bool      // Of one that was ready: wide and unshielded are known.

	unshielded string // Why its network lets in everybody, though it shall not.
}

// unreadyAfter is for how long an instance must have been asked in vain before its
// reason is told: most that start have one, for a moment.
const unreadyAfter = 3 * time.Second

// unansweredAfter is for how long an instance that runs may not answer at all before that is
// told as the reason.
const unansweredAfter = 10 * time.Second

const noAnswer = "its queue-proxy does not answer"

// noteUnready notes why an instance is not ready.
func (s *Scraper) noteUnready(f *follower, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setUnready(f, why)
}

// setUnready notes why an instance is not ready. The caller holds mu.
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
		s.notify()
	}
}

// noteSelfReport notes what an answer says of its instance. The caller holds mu.
func (s *Scraper) noteSelfReport(f *follower, a answer) {
	if a.ready != "true" {
		s.setUnready(f, a.unready)
	}
	if a.ready == "true" && (!f.report.known || f.report.wide != a.wide || f.report.unshielded != a.unshielded) {
		f.report.known, f.report.wide, f.report.unshielded = true, a.wide, a.unshielded
		s.notify()
	}
}

// unanswered notes that an instance which runs does not answer at all. The caller
// holds mu.
func (s *Scraper) unanswered(f *follower) {
	if !f.src.Starting && s.now().Sub(f.src.Placed) >= unansweredAfter {
		s.setUnready(f, noAnswer)
	}
}

// Unready says why the instances of a revision are not ready, in the words of the
// newest that has been asked in vain for a while; empty: none has.
func (s *Scraper) Unready(revision string) string {
	return s.newest(revision, func(f *follower) bool { return !f.ready && f.report.reported }).unready
}

// Draining says what an instance of the revision that was told to stop still waits for,
// in the words of the newest that says so; empty: none does.
func (s *Scraper) Draining(revision string) string {
	return s.newestOf(revision, true, func(f *follower) bool { return !f.ready && f.report.unready != "" }).unready
}

// Wide says where the app of the revision can be reached past its queue-proxy, by the
// newest instance that was ready; known: there is one.
func (s *Scraper) Wide(revision string) (at string, known bool) {
	f := s.newest(revision, func(f *follower) bool { return f.report.known })
	return f.wide, f.known
}

// Unshielded says why the network of the revision's instances lets in everybody, though
// it shall not, by the newest that was ready; known: there is one.
func (s *Scraper) Unshielded(revision string) (why string, known bool) {
	f := s.newest(revision, func(f *follower) bool { return f.report.known })
	return f.unshielded, f.known
}

// newest is what the newest of a revision's instances says of which is holds, but for
// those that were told to stop.
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
