package control

import "context"

// Steps make the passes of a controller one at a time, for a simulation that decides itself
// when each is made. They take the place of [Controller.Run].
type Steps struct {
	c    *Controller
	next newsChannels
}

// Steps begins a term, which goes on until ctx ends.
func (c *Controller) Steps(ctx context.Context) *Steps {
	c.begin(ctx)
	return &Steps{c: c, next: c.nextNews()}
}

// Pass makes one pass, over the services at rest too if Run would: if there is news of the
// cluster, or of what was submitted.
func (s *Steps) Pass(ctx context.Context) {
	news := s.news()
	s.next = s.c.nextNews()
	all := s.c.takeNews()
	s.c.pass(ctx, news || all)
}

// news takes in, without waiting, what Run waits for and takeNews does not know.
func (s *Steps) news() bool {
	news := false
	select {
	case <-s.next.callers:
		news = true
	default:
	}
	select {
	case <-s.c.editNews():
		news = s.c.takeEdits() || news
	default:
	}
	return news
}
