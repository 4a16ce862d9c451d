package scrape

// group is the followers of one revision's instances, or of all activators.
type group struct {
	all []*follower

	// The result of ready until the next recount: it is read far more often than it
	// changes.
	counted, known bool
	n              int
}

// ready counts the ready instances, without those that stop. known is false while one of
// them was never asked.
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

// recount drops the counted result. The caller holds mu.
func (s *Scraper) recount(f *follower) { s.group(f.src.Revision).counted = false }

// group returns the group of a revision, or that of activators for "". The caller holds
// mu.
func (s *Scraper) group(revision string) *group {
	g := s.groups[revision]
	if g == nil {
		g = &group{}
		s.groups[revision] = g
	}
	return g
}

// dropIfEmpty drops an unused group. The caller holds mu.
func (s *Scraper) dropIfEmpty(revision string) {
	if g := s.groups[revision]; g != nil && len(g.all) == 0 && s.revisions[revision] == nil {
		delete(s.groups, revision)
	}
}

// eachFollower calls do with every follower that is about a revision, activators included.
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
