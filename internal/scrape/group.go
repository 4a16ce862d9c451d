package scrape

// group are the followers that are about one revision.
type group struct {
	all []*follower

	// What ready found, until recount: it is asked far more often than it changes.
	counted, known bool
	n              int
}

// ready counts the instances that answer as ready; those that stop are not among
// them. known is false while one of the others was never asked.
func (g *group) ready() (n int, known bool) {
	if g.counted {
		return g.n, g.known
	}
	g.counted, g.n, g.known = true, 0, true
	for _, f := range g.all {
		if f.src.Stopping {
			continue
		}
		if f.ready {
			g.n++
		}
		g.known = g.known && f.asked
	}
	return g.n, g.known
}

// recount tells that something has changed that ready counts. The caller holds mu.
func (s *Scraper) recount(f *follower) { s.group(f.src.Revision).counted = false }

// group are the followers about a revision, or those about all if it is "". The caller
// holds mu.
func (s *Scraper) group(revision string) *group {
	g := s.groups[revision]
	if g == nil {
		g = &group{}
		s.groups[revision] = g
	}
	return g
}

// dropIfEmpty drops a group that nobody needs. The caller holds mu.
func (s *Scraper) dropIfEmpty(revision string) {
	if g := s.groups[revision]; g != nil && len(g.all) == 0 && s.revisions[revision] == nil {
		delete(s.groups, revision)
	}
}

// eachFollower are those that are about a revision.
func (s *Scraper) eachFollower(revision string, do func(f *follower)) {
	for _, id := range []string{"", revision} {
		if g := s.groups[id]; g != nil {
			for _, f := range g.all {
				do(f)
			}
		}
		if revision == "" {
			return
		}
	}
}
