package scrape

// group are the followers that are about one revision.
type group struct{ all []*follower }

// ready counts the instances that answer as ready; those that stop are not among
// them. known is false while one of the others was never asked.
func (g *group) ready() (n int, known bool) {
	known = true
	for _, f := range g.all {
		if f.src.Stopping {
			continue
		}
		if f.ready {
			n++
		}
		known = known && f.asked
	}
	return n, known
}

// group are the followers about a revision, or those about all if it is "". The caller
// holds mu.
func (s *Scraper[W]) group(revision string) *group {
	g := s.about[revision]
	if g == nil {
		g = &group{}
		s.about[revision] = g
	}
	return g
}

// tidy drops a group that nobody needs. The caller holds mu.
func (s *Scraper[W]) tidy(revision string) {
	if g := s.about[revision]; g != nil && len(g.all) == 0 && s.revisions[revision] == nil {
		delete(s.about, revision)
	}
}

// sources are those that are about a revision.
func (s *Scraper[W]) sources(revision string, do func(f *follower)) {
	for _, id := range []string{"", revision} {
		if g := s.about[id]; g != nil {
			for _, f := range g.all {
				do(f)
			}
		}
		if revision == "" {
			return
		}
	}
}
